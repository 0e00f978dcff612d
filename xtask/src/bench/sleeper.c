/* The smallest app: says that it runs, then sleeps. What else its instance takes is the platform's. */
#include <unistd.h>

int main(void) {
  if (write(1, "up\n", 3) != 3) return 1;
  for (;;) pause();
}
