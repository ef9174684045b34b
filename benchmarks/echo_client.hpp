// SPDX-License-Identifier: MIT
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

// The client that all echo servers answer: raw epoll, one outstanding request a connection.

namespace benchmark {

inline constexpr std::size_t echo_size = 64;

struct EchoFigures {
    double requests_a_second;
    double median;         // of the nanoseconds from a request to its answer
    double percentile_99;  // likewise
    double server_cpu;     // nanoseconds of the server's processor time, a request
};

inline void check(bool holds, const char* what) {
    if (holds) return;
    std::perror(what);
    std::abort();
}

/// How long the process `pid` has been on a processor, in nanoseconds, all threads of it.
inline double processor_time(pid_t pid) {
    clockid_t clock{};
    timespec time{};
    check(clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &time) == 0, "the server's clock");
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

class EchoClient {
public:
    /// Connects, and has each connection answered once, so that the server has accepted them all.
    EchoClient(std::uint16_t port, std::size_t connections) : epoll_{epoll_create1(EPOLL_CLOEXEC)} {
        check(epoll_ >= 0, "epoll_create1");
        for (std::size_t i = 0; i < message_.size(); ++i) message_[i] = static_cast<char>('!' + i);
        for (std::size_t i = 0; i < connections; ++i) connections_.push_back(open(port));
        for (Connection& connection : connections_) {
            epoll_event event{};
            event.events = EPOLLIN;
            event.data.ptr = &connection;
            check(epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.handle, &event) == 0, "epoll_ctl");
        }
    }
    EchoClient(const EchoClient&) = delete;
    EchoClient& operator=(const EchoClient&) = delete;
    ~EchoClient() {
        for (const Connection& connection : connections_) close(connection.handle);
        close(epoll_);
    }

    /// `count` requests, dealt out to the connections as they are answered.
    EchoFigures run(std::size_t count, pid_t server) {
        std::vector<float> latencies;
        latencies.reserve(count);
        std::vector<epoll_event> events(connections_.size());
        std::size_t started = 0;
        const double processor = processor_time(server);
        const Clock::time_point begin = Clock::now();
        for (Connection& connection : connections_)
            if (started < count) {
                ++started;
                send_request(connection);
            }
        while (latencies.size() < count) {
            const int ready = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
            check(ready > 0 || errno == EINTR, "epoll_wait");
            for (int i = 0; i < ready; ++i) {
                auto& connection = *static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
                if (!receive(connection)) continue;
                latencies.push_back(std::chrono::duration<float, std::nano>(Clock::now() - connection.sent).count());
                if (started == count) continue;
                ++started;
                send_request(connection);
            }
        }
        const std::chrono::duration<double> took = Clock::now() - begin;
        const auto number = static_cast<double>(count);
        return {.requests_a_second = number / took.count(),
                .median = percentile(latencies, 50),
                .percentile_99 = percentile(latencies, 99),
                .server_cpu = (processor_time(server) - processor) / number};
    }

private:
    using Clock = std::chrono::steady_clock;
    struct Connection {
        int handle;
        std::size_t received;
        Clock::time_point sent;
    };

    Connection open(std::uint16_t port) {
        Connection connection{.handle = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .received = 0, .sent = {}};
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        check(connect(connection.handle, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
        const int on = 1;
        check(setsockopt(connection.handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "TCP_NODELAY");
        send_request(connection);
        while (!receive(connection)) {
        }
        check(fcntl(connection.handle, F_SETFL, O_NONBLOCK) == 0, "fcntl");
        return connection;
    }
    void send_request(Connection& connection) {
        connection.sent = Clock::now();
        check(send(connection.handle, message_.data(), echo_size, MSG_NOSIGNAL) == echo_size, "send");
    }
    /// Whether the answer is whole.
    bool receive(Connection& connection) {
        std::array<char, 2 * echo_size> answer;
        const ssize_t size = recv(connection.handle, answer.data(), answer.size(), 0);
        check(size > 0, "recv");
        const auto received = static_cast<std::size_t>(size);
        if (connection.received + received > echo_size ||
            std::memcmp(answer.data(), message_.data() + connection.received, received) != 0) {
            std::fprintf(stderr, "a server answers what it was not sent\n");
            std::abort();
        }
        connection.received = (connection.received + received) % echo_size;
        return connection.received == 0;
    }
    static double percentile(std::vector<float>& values, std::size_t percent) {
        const auto place = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) * percent / 100);
        std::nth_element(values.begin(), place, values.end());
        return static_cast<double>(*place);
    }

    int epoll_;
    std::array<char, echo_size> message_;
    std::vector<Connection> connections_;
};

}  // namespace benchmark
