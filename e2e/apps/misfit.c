/* One app for every way to misbehave. Its first argument is the way; it logs what it is asked. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stopping, reloads;
static time_t unready_until;
static int is_ill;

static void on_term(int signal_number) {
  (void)signal_number;
  stopping = 1;
}

static void on_hangup(int signal_number) {
  (void)signal_number;
  reloads++;
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

static void burn(void) {
  clock_t end = clock() + CLOCKS_PER_SEC / 2;
  while (clock() < end) continue;
}

static void flood(void) {
  for (int i = 0; i < 5000; i++) printf("flood %d\n", i);
}

/* Makes a child whose parent has ended, and waits until it has ended, too: then process 1 has to take it away. */
static void leave_orphan(void) {
  int ends[2];
  char nothing;
  if (pipe(ends) != 0) return;
  pid_t parent = fork();
  if (parent == 0) {
    if (fork() == 0) usleep(20000);
    _exit(0);
  }
  close(ends[1]);
  waitpid(parent, NULL, 0);
  while (read(ends[0], &nothing, 1) > 0) continue;
  close(ends[0]);
}

/* Processes that have ended and that nobody took away. */
static int zombies(void) {
  int count = 0;
  DIR *all = opendir("/proc");
  for (struct dirent *one; all && (one = readdir(all));) {
    char path[300], state = '?';
    snprintf(path, sizeof path, "/proc/%.200s/stat", one->d_name);
    FILE *stat = atoi(one->d_name) > 0 ? fopen(path, "r") : NULL;
    if (stat && fscanf(stat, "%*d (%*[^)]) %c", &state) == 1 && state == 'Z') count++;
    if (stat) fclose(stat);
  }
  if (all) closedir(all);
  return count;
}

static const char *reach(const char *place) {
  char ip[64];
  int port, connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval patience = {.tv_sec = 2};
  struct sockaddr_in address = {.sin_family = AF_INET};
  if (sscanf(place, "%63[^/]/%d", ip, &port) != 2 || inet_pton(AF_INET, ip, &address.sin_addr) != 1) return "unclear";
  address.sin_port = htons((uint16_t)port);
  setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const char *answer = connect(connection, (struct sockaddr *)&address, sizeof address) == 0 ? "open" : "closed";
  close(connection);
  return answer;
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
  const char *instance = getenv("CF_INSTANCE_GUID"), *word = getenv("WORD"), *status = "200 OK";
  const char *reached = strncmp(target, "/reach/", 7) == 0 ? reach(target + 7) : "-";
  if (strncmp(target, "/unready/", 9) == 0) unready_until = time(NULL) + atoi(target + 9);
  if (strcmp(target, "/ill") == 0) is_ill = 1;
  if (strcmp(target, "/burn") == 0) burn();
  if (strcmp(target, "/flood") == 0) flood();
  if (strcmp(target, "/orphan") == 0) leave_orphan();
  if (strcmp(target, "/ready") == 0 && time(NULL) < unready_until) status = "503 Not Ready";
  if (strcmp(target, "/live") == 0 && is_ill) status = "503 Ill";
  char body[256];
  int body_length = snprintf(body, sizeof body, "instance %s word %s reached %s zombies %d reloads %d\n",
                             instance ? instance : "?", word ? word : "-", reached, zombies(), (int)reloads);
  int answer_length = snprintf(answer, sizeof answer,
                               "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                               "Connection: close\r\n\r\n%s",
                               status, body_length, body);
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
  struct sigaction term = {.sa_handler = on_term}, hangup = {.sa_handler = on_hangup};
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN);
  sigaction(SIGTERM, &term, NULL);
  sigaction(SIGHUP, &hangup, NULL);
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
