// SPDX-License-Identifier: MIT
//
// How many requests a second does a TCP server on one thread answer, how soon, and at what cost of the processor?

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/server.hpp>
#include <plait/asyncio/stream_reader.hpp>
#include <plait/asyncio/stream_writer.hpp>

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "asio_peers.hpp"
#include "echo_client.hpp"
#include "echo_servers.hpp"
#include "python_peer.hpp"
#include "table.hpp"

namespace {

using benchmark::buffer_size;
using benchmark::check;
using benchmark::Report;

namespace aio = plait::asyncio;

/// As one writes it.
aio::Coroutine<void> echo(aio::StreamReader reader, aio::StreamWriter writer) {
    for (;;) {
        const std::string data = co_await reader.read(buffer_size);
        if (data.empty()) break;
        writer.write(data);
        co_await writer.drain();
    }
}

/// Without an allocation.
aio::Coroutine<void> echo_in_place(aio::StreamReader reader, aio::StreamWriter writer) {
    std::array<char, buffer_size> buffer;
    for (;;) {
        const std::size_t size = co_await reader.readinto(buffer);
        if (size == 0) break;
        writer.write(std::string_view{buffer.data(), size});
        co_await writer.drain();
    }
}

using Handler = aio::Coroutine<void> (*)(aio::StreamReader, aio::StreamWriter);

aio::Coroutine<void> serve_by_plait(Report report, Handler handler) {
    auto server = co_await aio::start_server(handler, "127.0.0.1", 0);
    report(static_cast<std::uint16_t>(server.port()));
    co_await server.serve_forever();
}

/// Where the client runs, and where the servers: else it is luck whether they share a processor, and that decides more
/// than anything else here.
class Processors {
public:
    Processors() {
        cpu_set_t allowed;
        check(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "sched_getaffinity");
        for (std::size_t number = 0; number < CPU_SETSIZE; ++number)
            if (CPU_ISSET(number, &allowed)) numbers_.push_back(number);
    }
    void give_first(pid_t process) const { give(process, numbers_.front()); }
    void give_last(pid_t process) const { give(process, numbers_.back()); }

private:
    static void give(pid_t process, std::size_t number) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(number, &one);
        check(sched_setaffinity(process, sizeof one, &one) == 0, "sched_setaffinity");
    }

    std::vector<std::size_t> numbers_;
};

/// A server in a process of its own.
class Server {
public:
    template <class Serve>
    explicit Server(Serve serve) {
        int answer[2];
        check(pipe(answer) == 0, "pipe");
        pid_ = fork();
        check(pid_ >= 0, "fork");
        if (pid_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(answer[0]);
            serve(Report{answer[1]});
            _exit(1);
        }
        close(answer[1]);
        check(read(answer[0], &port_, sizeof port_) == sizeof port_, "a server's port");
        close(answer[0]);
    }
    Server(std::unique_ptr<benchmark::PythonPeer> peer, const std::string& what) : peer_{std::move(peer)} {
        const std::vector<double> answer = peer_->values(what, 2);
        port_ = static_cast<std::uint16_t>(answer[0]);
        pid_ = static_cast<pid_t>(answer[1]);
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server() {
        if (peer_) return;
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] benchmark::EchoFigures measure(std::size_t connections, std::size_t requests) const {
        benchmark::EchoClient client{port_, connections};
        return client.run(requests, pid_);
    }

private:
    std::unique_ptr<benchmark::PythonPeer> peer_;
    std::uint16_t port_ = 0;
    pid_t pid_ = -1;
};

class Servers {
public:
    Servers() { processors_.give_first(0); }
    template <class Serve>
    void add(std::string name, Serve serve) {
        names_.push_back(std::move(name));
        servers_.push_back(std::make_unique<Server>(serve));
    }
    void add_python(const std::string& loop, const std::string& interpreter) {
        for (const char* style : {"streams", "Protocol"}) {
            names_.push_back(loop + ": " + style);
            servers_.push_back(std::make_unique<Server>(
                std::make_unique<benchmark::PythonPeer>("echo_peer.py", std::vector<std::string>{}, interpreter),
                loop + ' ' + style));
        }
    }

    /// A single connection shares the client's processor: there is nothing to be done at the same time, and waking
    /// another one would take ten times what is measured.
    void compare(std::size_t connections, std::size_t requests) const {
        using benchmark::Table;
        const bool shared = connections == 1;
        for (const auto& server : servers_)
            if (shared)
                processors_.give_first(server->pid());
            else
                processors_.give_last(server->pid());
        const std::string work =
            "B5: echo of 64 bytes, " + std::to_string(connections) + (shared ? " connection: " : " connections: ");
        Table throughput{
            work + "requests a second; more is better", {"thousands", 1e3}, "at least 0.97 of raw epoll's"};
        Table median{work + "median of the answer's time", benchmark::us, "raw epoll's"};
        Table slowest{work + "99th percentile", benchmark::us, "raw epoll's"};
        Table cpu{work + "the server's processor time a request", benchmark::us, "at most 1.05 of raw epoll's"};
        for (std::size_t i = 0; i < names_.size(); ++i)
            for (Table* table : {&throughput, &median, &slowest, &cpu}) {
                if (i == 0)
                    table->bare(names_[i]);
                else if (names_[i].starts_with("plait "))
                    table->plait(names_[i].substr(6));
                else
                    table->peer(names_[i]);
            }
        benchmark::take_turns(servers_.size(), [&](std::size_t i, bool counts) {
            const benchmark::EchoFigures figures = servers_[i]->measure(connections, benchmark::scaled(requests));
            if (!counts) return;
            throughput.record(i, figures.requests_a_second);
            median.record(i, figures.median);
            slowest.record(i, figures.percentile_99);
            cpu.record(i, figures.server_cpu);
        });
        for (Table* table : {&throughput, &median, &slowest, &cpu}) table->print();
    }

private:
    Processors processors_;
    std::vector<std::string> names_;
    std::vector<std::unique_ptr<Server>> servers_;
};

void allow_many_connections() {
    rlimit limit{};
    check(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    check(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

}  // namespace

int main() {
    allow_many_connections();
    benchmark::look_for_asio();
    Servers servers;
    servers.add("epoll_wait, recv, send", benchmark::serve_by_epoll);
#ifdef BENCHMARK_UV
    servers.add("libuv: uv_read_start, uv_try_write", benchmark::serve_by_uv);
#else
    benchmark::missing("libuv");
#endif
    benchmark::for_each_asio([&](auto library) {
        using Asio = decltype(library);
        servers.add(Asio::named("awaitable"), benchmark::serve_by_asio<Asio, benchmark::AsioCoroutines<Asio>>);
        servers.add(Asio::named("async_read_some, by callbacks"),
                    benchmark::serve_by_asio<Asio, benchmark::AsioCallbacks<Asio>>);
    });
    if (benchmark::PythonPeer::is_installed())
        servers.add_python("asyncio", "python3");
    else
        benchmark::missing("python3");
    if (const std::string interpreter = benchmark::PythonPeer::interpreter_with("uvloop"); !interpreter.empty())
        servers.add_python("uvloop", interpreter);
    else
        benchmark::missing("uvloop");
    servers.add("plait StreamReader::read", [](Report report) { aio::run(serve_by_plait(report, echo)); });
    servers.add("plait StreamReader::readinto", [](Report report) { aio::run(serve_by_plait(report, echo_in_place)); });

    servers.compare(1, 10'000);
    servers.compare(100, 50'000);
    servers.compare(1000, 50'000);
}
