// SPDX-License-Identifier: MIT
#pragma once

#ifdef BENCHMARK_ASIO
#  include <asio/buffer.hpp>
#  include <asio/ip/tcp.hpp>
#  include <asio/write.hpp>
#endif
#ifdef BENCHMARK_BOOST_ASIO
#  include <boost/asio/buffer.hpp>
#  include <boost/asio/ip/tcp.hpp>
#  include <boost/asio/write.hpp>
#endif
#ifdef BENCHMARK_UV
#  include <uv.h>
#endif

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "asio_peers.hpp"
#include "echo_client.hpp"

// The echo servers that plait's is compared with, each on one thread. Python's are in echo_peer.py.

namespace benchmark {

inline constexpr std::size_t buffer_size = 4096;

/// What a server tells its port.
class Report {
public:
    explicit Report(int handle) : handle_{handle} {}
    void operator()(std::uint16_t port) const {
        check(write(handle_, &port, sizeof port) == sizeof port, "write");
        close(handle_);
    }

private:
    int handle_;
};

inline sockaddr_in loopback() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

inline void watch(int epoll, int handle) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = handle;
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, handle, &event) == 0, "epoll_ctl");
}

/// The least that there is: what is ready is received and sent at once.
inline void serve_by_epoll(Report report) {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_in address = loopback();
    socklen_t length = sizeof address;
    check(bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0 && listen(listener, SOMAXCONN) == 0 &&
              getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) == 0,
          "listen");
    const int epoll = epoll_create1(0);
    watch(epoll, listener);
    report(ntohs(address.sin_port));
    std::array<epoll_event, 1024> events;
    std::array<char, buffer_size> buffer;
    for (;;) {
        const int ready = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
        for (std::size_t i = 0; static_cast<int>(i) < ready; ++i) {
            const int handle = events[i].data.fd;
            if (handle == listener) {
                const int connection = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
                const int on = 1;
                setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                watch(epoll, connection);
                continue;
            }
            const ssize_t size = recv(handle, buffer.data(), buffer.size(), 0);
            if (size <= 0)
                close(handle);
            else
                check(send(handle, buffer.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL) == size, "send");
        }
    }
}

#ifdef BENCHMARK_UV
/// Writes at once by uv_try_write, which allocates nothing, and queues nothing here: the answers are short.
inline void serve_by_uv(Report report) {
    static uv_loop_t loop;
    static uv_tcp_t listener;
    uv_loop_init(&loop);
    uv_tcp_init(&loop, &listener);
    sockaddr_in address = loopback();
    uv_tcp_bind(&listener, reinterpret_cast<sockaddr*>(&address), 0);
    const auto on_connection = [](uv_stream_t* server, int) {
        auto* const connection = new uv_tcp_t;
        uv_tcp_init(&loop, connection);
        auto* const stream = reinterpret_cast<uv_stream_t*>(connection);
        check(uv_accept(server, stream) == 0, "uv_accept");
        uv_tcp_nodelay(connection, 1);
        const auto give_buffer = [](uv_handle_t*, std::size_t, uv_buf_t* buffer) {
            static char memory[buffer_size];
            *buffer = uv_buf_init(memory, sizeof memory);
        };
        const auto on_read = [](uv_stream_t* peer, ssize_t size, const uv_buf_t* buffer) {
            if (size < 0)
                return uv_close(reinterpret_cast<uv_handle_t*>(peer),
                                [](uv_handle_t* handle) { delete reinterpret_cast<uv_tcp_t*>(handle); });
            const uv_buf_t answer = uv_buf_init(buffer->base, static_cast<unsigned>(size));
            if (size > 0) check(uv_try_write(peer, &answer, 1) == size, "uv_try_write");
        };
        uv_read_start(stream, give_buffer, on_read);
    };
    check(uv_listen(reinterpret_cast<uv_stream_t*>(&listener), SOMAXCONN, on_connection) == 0, "uv_listen");
    int length = sizeof address;
    uv_tcp_getsockname(&listener, reinterpret_cast<sockaddr*>(&address), &length);
    report(ntohs(address.sin_port));
    uv_run(&loop, UV_RUN_DEFAULT);
}
#endif

// Asio by itself and as a part of Boost, by what asio_peers.hpp does not have.
template <class Asio>
struct Sockets;
#ifdef BENCHMARK_ASIO
template <>
struct Sockets<Asio> {
    using Tcp = asio::ip::tcp;
    using Address = asio::ip::address_v4;
    using System = asio::system_error;
    static constexpr auto use_awaitable = asio::use_awaitable;
    static auto buffer(char* data, std::size_t size) { return asio::buffer(data, size); }
};
#endif
#ifdef BENCHMARK_BOOST_ASIO
template <>
struct Sockets<BoostAsio> {
    using Tcp = boost::asio::ip::tcp;
    using Address = boost::asio::ip::address_v4;
    using System = boost::system::system_error;
    static constexpr auto use_awaitable = boost::asio::use_awaitable;
    static auto buffer(char* data, std::size_t size) { return boost::asio::buffer(data, size); }
};
#endif

template <class Asio>
struct AsioCoroutines {
    using Socket = typename Sockets<Asio>::Tcp::socket;
    static void start(typename Asio::Context& context, Socket socket) { Asio::spawn(context, echo(std::move(socket))); }

private:
    static typename Asio::template Awaitable<void> echo(Socket socket) {
        std::array<char, buffer_size> data;
        try {
            for (;;) {
                const std::size_t size = co_await socket.async_read_some(
                    Sockets<Asio>::buffer(data.data(), data.size()), Sockets<Asio>::use_awaitable);
                co_await async_write(socket, Sockets<Asio>::buffer(data.data(), size), Sockets<Asio>::use_awaitable);
            }
        } catch (const typename Sockets<Asio>::System&) {
        }
    }
};

template <class Asio>
class AsioCallbacks : public std::enable_shared_from_this<AsioCallbacks<Asio>> {
public:
    using Socket = typename Sockets<Asio>::Tcp::socket;
    explicit AsioCallbacks(Socket socket) : socket_{std::move(socket)} {}
    static void start(typename Asio::Context&, Socket socket) {
        std::make_shared<AsioCallbacks>(std::move(socket))->read();
    }

private:
    using Error = typename Asio::Error;
    void read() {
        socket_.async_read_some(Sockets<Asio>::buffer(data_.data(), data_.size()),
                                [self = this->shared_from_this()](const Error& error, std::size_t size) {
                                    if (!error) self->write(size);
                                });
    }
    void write(std::size_t size) {
        async_write(socket_, Sockets<Asio>::buffer(data_.data(), size),
                    [self = this->shared_from_this()](const Error& error, std::size_t) {
                        if (!error) self->read();
                    });
    }

    Socket socket_;
    std::array<char, buffer_size> data_;
};

template <class Asio, class Connections>
void accept_next(typename Asio::Context& context, typename Sockets<Asio>::Tcp::acceptor& acceptor) {
    acceptor.async_accept([&](const typename Asio::Error& error, typename Connections::Socket socket) {
        check(!error, "async_accept");
        socket.set_option(typename Sockets<Asio>::Tcp::no_delay(true));
        Connections::start(context, std::move(socket));
        accept_next<Asio, Connections>(context, acceptor);
    });
}

template <class Asio, class Connections>
void serve_by_asio(Report report) {
    using Tcp = typename Sockets<Asio>::Tcp;
    typename Asio::Context context{1};
    typename Tcp::acceptor acceptor{context, {Sockets<Asio>::Address::loopback(), 0}};
    accept_next<Asio, Connections>(context, acceptor);
    report(acceptor.local_endpoint().port());
    context.run();
}

}  // namespace benchmark
