/* Runs Envoy and speaks to it: the image has no shell, and Envoy's admin interface is a socket in the container alone.

     control run PROGRAM ARGUMENT...            run Envoy; at SIGTERM, end it once its last request is answered
     control ready SECONDS [STAT VERSION]...    wait until it serves these versions of its files
     control apply SECONDS [FROM TO STAT VERSION]...   move files over those it watches, one after the other, each once
                                                it serves the one before
     control drained SECONDS CLUSTER            wait until no request to a cluster that was removed is left
     control probe SECONDS ADDRESS PORT         connect to a port

   It exits with 0 when that is so, 3 when Envoy refused a file (its log says why), 4 when the time is over, 2 when it is
   called wrongly and 1 otherwise. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ADMIN_SOCKET "/tmp/admin.sock"
#define REQUESTS "http.gateway.downstream_rq_active"
enum { DONE = 0, FAILED = 1, USAGE = 2, REFUSED = 3, LATE = 4 };
enum { ANSWER_BYTES = 1 << 20, POLL_MILLISECONDS = 10, DRAIN_MILLISECONDS = 50, ADMIN_SECONDS = 2 };

static char answer[ANSWER_BYTES];
static volatile sig_atomic_t signals;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void pause_for(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Ask the admin interface; its whole answer is in `answer`. Returns whether it came with status 200. */
static int ask(const char *method, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = ADMIN_SOCKET};
    struct timeval limit = {.tv_sec = ADMIN_SECONDS};
    char request[1024];
    size_t got = 0;
    ssize_t more = 0;
    answer[0] = '\0';
    int length = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                          method, path);
    if (length < 0 || (size_t)length >= sizeof request) return 0;
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0) return 0;
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(connection, request, (size_t)length, MSG_NOSIGNAL) == length)
        while (got < sizeof answer - 1 && (more = recv(connection, answer + got, sizeof answer - 1 - got, 0)) > 0)
            got += (size_t)more;
    close(connection);
    answer[got] = '\0';
    return more == 0 && strncmp(answer, "HTTP/1.1 200", 12) == 0;
}

/* Return where a statistic's value begins in `answer`; NULL: it is not there. */
static const char *value_of(const char *stat, const char *part) {
    char start[512];
    int length = snprintf(start, sizeof start, "\n%s%s: ", stat, part);
    if (length < 0 || (size_t)length >= sizeof start) return NULL;
    const char *found = strstr(answer, start);
    return found ? found + length : NULL;
}

static long count_of(const char *stat, const char *part) {
    const char *value = value_of(stat, part);
    return value ? strtol(value, NULL, 10) : 0;
}

static int ask_versions(void) { return ask("GET", "/stats?filter=version_text|update_rejected|warming_clusters"); }

static int serves(const char *stat, const char *version) {
    const char *value = value_of(stat, ".version_text");
    size_t length = strlen(version);
    return value && value[0] == '"' && strncmp(value + 1, version, length) == 0 && value[length + 1] == '"' &&
           count_of("cluster_manager", ".warming_clusters") == 0;
}

static int ready(double end, int count, char **pairs) {
    for (;; pause_for(POLL_MILLISECONDS)) {
        int good = ask("GET", "/ready") && ask_versions();
        for (int at = 0; good && at + 1 < count; at += 2) {
            if (count_of(pairs[at], ".update_rejected") > 0) return REFUSED;
            good = serves(pairs[at], pairs[at + 1]);
        }
        if (good) return DONE;
        if (now() > end) return LATE;
    }
}

static int apply(double end, int count, char **moves) {
    for (int at = 0; at + 3 < count; at += 4) {
        const char *stat = moves[at + 2], *version = moves[at + 3];
        if (!ask_versions()) return FAILED;
        long refused = count_of(stat, ".update_rejected");
        if (rename(moves[at], moves[at + 1]) != 0) {
            perror(moves[at]);
            return FAILED;
        }
        while (!(ask_versions() && serves(stat, version))) {
            if (count_of(stat, ".update_rejected") > refused) return REFUSED;
            if (now() > end) return LATE;
            pause_for(POLL_MILLISECONDS);
        }
    }
    return DONE;
}

static int drained(double end, const char *cluster) {
    char path[512], stat[512];
    int written = snprintf(path, sizeof path, "/stats?filter=%s.upstream_rq_active", cluster);
    if (written < 0 || (size_t)written >= sizeof path) return USAGE;
    snprintf(stat, sizeof stat, "cluster.%s", cluster);
    for (;; pause_for(DRAIN_MILLISECONDS)) {
        if (!ask("GET", path)) return FAILED;
        if (count_of(stat, ".upstream_rq_active") == 0) return DONE;
        if (now() > end) return LATE;
    }
}

static int probe(double seconds, const char *address, const char *port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtol(port, NULL, 10))};
    int error = 0;
    socklen_t size = sizeof error;
    if (inet_pton(AF_INET, address, &to.sin_addr) != 1) return USAGE;
    int connection = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection < 0) return FAILED;
    if (connect(connection, (struct sockaddr *)&to, sizeof to) == 0) return DONE;
    struct pollfd wait = {.fd = connection, .events = POLLOUT};
    if (errno != EINPROGRESS || poll(&wait, 1, (int)(seconds * 1000)) != 1) return FAILED;
    return getsockopt(connection, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0 ? DONE : FAILED;
}

static void count_signal(int number) {
    (void)number;
    signals++;
}

/* Take no more connections, and return when all requests are answered, Envoy does not answer or a second signal came. */
static void drain(void) {
    if (!ask("POST", "/healthcheck/fail") || !ask("POST", "/drain_listeners")) return;
    while (signals < 2 && ask("GET", "/stats?filter=" REQUESTS) && count_of(REQUESTS, "") > 0)
        pause_for(DRAIN_MILLISECONDS);
}

static int run(char **command) {
    struct sigaction action = {.sa_handler = count_signal};
    sigset_t blocked, before;
    int status = 0;
    sigemptyset(&blocked);
    for (int at = 0; at < 3; at++) {
        int number = (int[]){SIGTERM, SIGINT, SIGQUIT}[at];
        sigaddset(&blocked, number);
        sigaction(number, &action, NULL);
    }
    sigaddset(&blocked, SIGCHLD);
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    pid_t envoy = fork();
    if (envoy < 0) return FAILED;
    if (envoy == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        execvp(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    for (;;) {
        int number = 0;
        sigwait(&blocked, &number);
        if (number == SIGCHLD) {
            if (waitpid(envoy, &status, WNOHANG) == envoy) break;
            continue;
        }
        signals++;
        sigset_t others = blocked;
        sigdelset(&others, SIGCHLD);
        sigprocmask(SIG_UNBLOCK, &others, NULL); /* a second signal is counted by the handler, and ends the wait */
        drain();
        kill(envoy, SIGTERM);
        while (waitpid(envoy, &status, 0) < 0 && errno == EINTR) continue;
        break;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int count, char **words) {
    if (count >= 3 && strcmp(words[1], "run") == 0) return run(words + 2);
    if (count < 3) return USAGE;
    double seconds = strtod(words[2], NULL), end = now() + seconds;
    if (strcmp(words[1], "ready") == 0 && (count - 3) % 2 == 0) return ready(end, count - 3, words + 3);
    if (strcmp(words[1], "apply") == 0 && (count - 3) % 4 == 0) return apply(end, count - 3, words + 3);
    if (strcmp(words[1], "drained") == 0 && count == 4) return drained(end, words[3]);
    if (strcmp(words[1], "probe") == 0 && count == 5) return probe(seconds, words[3], words[4]);
    return USAGE;
}
