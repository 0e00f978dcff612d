/* A small web server without any dependency, for trying the platform with a program that is pushed as it is. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { REQUEST_BYTES_MAX = 16384, MIB = 1024 * 1024 };

extern char **environ;
static volatile sig_atomic_t stopping;
static long eaten_mib;

static void on_term(int signal_number) {
  (void)signal_number;
  stopping = 1;
}

static void send_all(int client, const char *text, size_t length) {
  while (length > 0) {
    ssize_t sent = write(client, text, length);
    if (sent <= 0) return;
    text += sent;
    length -= (size_t)sent;
  }
}

__attribute__((format(printf, 3, 4))) static void reply(int client, const char *status, const char *format, ...) {
  char *body = NULL, *head = NULL;
  va_list values;
  va_start(values, format);
  int body_length = vasprintf(&body, format, values);
  va_end(values);
  int head_length = asprintf(&head,
                             "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                             "Content-Length: %d\r\nConnection: close\r\n\r\n",
                             status, body_length);
  if (body_length >= 0 && head_length >= 0) {
    send_all(client, head, (size_t)head_length);
    send_all(client, body, (size_t)body_length);
  }
  free(body);
  free(head);
}

static void reply_with_environment(int client) {
  static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n";
  send_all(client, head, sizeof head - 1);
  for (char **entry = environ; *entry; entry++) {
    send_all(client, *entry, strlen(*entry));
    send_all(client, "\n", 1);
  }
}

/* Memory counts only once it is written to, and it is never given back. */
static int eat(long mib) {
  for (long i = 0; i < mib; i++) {
    char *piece = malloc(MIB);
    if (!piece) return 0;
    memset(piece, 1, MIB);
    __asm__ volatile("" : : "r"(piece) : "memory");
    eaten_mib++;
  }
  return 1;
}

static long parameter(const char *target, const char *name, long fallback) {
  const char *query = strchr(target, '?');
  size_t length = strlen(name);
  while (query) {
    query++;
    if (strncmp(query, name, length) == 0 && query[length] == '=') return strtol(query + length + 1, NULL, 10);
    query = strchr(query, '&');
  }
  return fallback;
}

static int is_path(const char *target, const char *path) {
  size_t length = strlen(path);
  return strncmp(target, path, length) == 0 && (target[length] == '\0' || target[length] == '?');
}

static void answer(int client, const char *target) {
  const char *instance = getenv("CF_INSTANCE_INDEX");
  if (is_path(target, "/")) {
    reply(client, "200 OK", "binary sample, instance %s\n", instance ? instance : "0");
  } else if (is_path(target, "/env")) {
    reply_with_environment(client);
  } else if (is_path(target, "/exit")) {
    int code = (int)parameter(target, "code", 1);
    reply(client, "200 OK", "exiting with %d\n", code);
    shutdown(client, SHUT_RDWR);
    fprintf(stderr, "exit %d was asked for by a request\n", code);
    exit(code);
  } else if (is_path(target, "/eat")) {
    int all = eat(parameter(target, "mib", 1));
    reply(client, all ? "200 OK" : "507 Insufficient Storage", "%ld MiB eaten\n", eaten_mib);
  } else {
    reply(client, "404 Not Found", "try /, /env, /exit?code=3 or /eat?mib=10\n");
  }
}

static void serve(int client) {
  char request[REQUEST_BYTES_MAX + 1], target[2048];
  size_t length = 0;
  struct timeval patience = {.tv_sec = 5};
  setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  do {
    ssize_t got = read(client, request + length, REQUEST_BYTES_MAX - length);
    if (got <= 0) return;
    length += (size_t)got;
    request[length] = '\0';
  } while (!strstr(request, "\r\n\r\n") && length < REQUEST_BYTES_MAX);
  if (sscanf(request, "%*15s %2047s HTTP/1", target) == 1) {
    answer(client, target);
  } else {
    reply(client, "400 Bad Request", "this is not HTTP\n");
  }
}

static int listen_on(int port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int yes = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 128) != 0) {
    perror("cannot listen");
    exit(1);
  }
  return listener;
}

int main(void) {
  const char *text = getenv("PORT");
  int port = text ? atoi(text) : 8080;
  struct sigaction term = {.sa_handler = on_term};
  sigset_t only_term, before;
  sigemptyset(&only_term);
  sigaddset(&only_term, SIGTERM);
  /* SIGTERM comes in only while waiting, so that it cannot slip in between the look at the flag and the wait. */
  sigprocmask(SIG_BLOCK, &only_term, &before);
  sigaction(SIGTERM, &term, NULL);
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);

  int listener = listen_on(port);
  printf("binary sample listens on %d\n", port);
  while (!stopping) {
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    if (ppoll(&waiting, 1, NULL, &before) <= 0) continue;
    int client = accept(listener, NULL, NULL);
    if (client < 0) continue;
    serve(client);
    close(client);
  }
  puts("SIGTERM: no request is open, stopping");
  return 0;
}
