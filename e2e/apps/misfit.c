/* One app for every way to misbehave. Its first argument is the way; it logs what it is asked. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t stopping;

static void on_term(int signal_number) {
  (void)signal_number;
  stopping = 1;
}

/* Memory counts only once it is written to. */
static void eat(void) {
  for (;;) {
    char *piece = malloc(1 << 20);
    if (!piece) exit(4);
    memset(piece, 1, 1 << 20);
    __asm__ volatile("" : : "r"(piece) : "memory");
  }
}

static void serve(int client) {
  char request[8192] = "", target[1024] = "", answer[512];
  size_t length = 0;
  while (!strstr(request, "\r\n\r\n") && length < sizeof request - 1) {
    ssize_t got = read(client, request + length, sizeof request - 1 - length);
    if (got <= 0) return;
    length += (size_t)got;
    request[length] = '\0';
  }
  if (sscanf(request, "%*15s %1023s", target) != 1) return;
  printf("asked for %s\n", target);
  const char *instance = getenv("CF_INSTANCE_GUID"), *word = getenv("WORD");
  char body[256];
  int body_length = snprintf(body, sizeof body, "instance %s word %s\n", instance ? instance : "?", word ? word : "-");
  int answer_length = snprintf(answer, sizeof answer,
                               "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                               "Connection: close\r\n\r\n%s",
                               body_length, body);
  if (write(client, answer, (size_t)answer_length) < 0) return;
  shutdown(client, SHUT_RDWR);
  if (strncmp(target, "/exit/", 6) == 0) exit(atoi(target + 6));
  if (strcmp(target, "/abort") == 0) abort();
  if (strcmp(target, "/eat") == 0) eat();
}

static void listen_and_serve(const char *ip, int port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  sigset_t only_term, before;
  sigemptyset(&only_term);
  sigaddset(&only_term, SIGTERM);
  sigprocmask(SIG_BLOCK, &only_term, &before);
  inet_pton(AF_INET, ip, &address.sin_addr);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 512) != 0) {
    perror("cannot listen");
    exit(1);
  }
  printf("listening on %s:%d\n", ip, port);
  while (!stopping) {
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    if (ppoll(&waiting, 1, NULL, &before) <= 0) continue;
    int client = accept(listener, NULL, NULL);
    if (client < 0) continue;
    serve(client);
    close(client);
  }
  puts("SIGTERM: leaving");
}

int main(int count, char **arguments) {
  const char *way = count > 1 ? arguments[1] : "serve", *port_text = getenv("PORT");
  int port = port_text ? atoi(port_text) : 8080;
  struct sigaction term = {.sa_handler = on_term};
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN);
  sigaction(SIGTERM, &term, NULL);
  printf("misfit: %s\n", way);

  if (strcmp(way, "exit") == 0) return count > 2 ? atoi(arguments[2]) : 1;
  if (strcmp(way, "silent") == 0) {
    while (!stopping) pause();
  } else if (strcmp(way, "eat") == 0) {
    eat();
  } else if (strcmp(way, "loopback") == 0) {
    listen_and_serve("127.0.0.1", port);
  } else if (strcmp(way, "elsewhere") == 0) {
    listen_and_serve("0.0.0.0", 9999);
  } else {
    if (strcmp(way, "deaf") == 0) signal(SIGTERM, SIG_IGN);
    listen_and_serve("0.0.0.0", port);
  }
  return 0;
}
