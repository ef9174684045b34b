// SPDX-License-Identifier: MIT
#pragma once

#ifdef BENCHMARK_ASIO
#  include <asio/awaitable.hpp>
#  include <asio/co_spawn.hpp>
#  include <asio/detached.hpp>
#  include <asio/executor_work_guard.hpp>
#  include <asio/experimental/channel.hpp>
#  include <asio/io_context.hpp>
#  include <asio/post.hpp>
#  include <asio/steady_timer.hpp>
#  include <asio/this_coro.hpp>
#  include <asio/use_awaitable.hpp>
#endif
#ifdef BENCHMARK_BOOST_ASIO
#  include <boost/asio/awaitable.hpp>
#  include <boost/asio/co_spawn.hpp>
#  include <boost/asio/detached.hpp>
#  include <boost/asio/executor_work_guard.hpp>
#  include <boost/asio/experimental/channel.hpp>
#  include <boost/asio/io_context.hpp>
#  include <boost/asio/post.hpp>
#  include <boost/asio/steady_timer.hpp>
#  include <boost/asio/this_coro.hpp>
#  include <boost/asio/use_awaitable.hpp>
#endif

#include <string>
#include <utility>

#include "table.hpp"

// Asio by itself and as a part of Boost: the same names in two namespaces, which a benchmark takes as a template argument.

namespace benchmark {

#ifdef BENCHMARK_ASIO
struct Asio {
    static std::string named(const std::string& what) { return "asio::" + what; }
    template <class T>
    using Awaitable = asio::awaitable<T>;
    using Context = asio::io_context;
    using Guard = asio::executor_work_guard<Context::executor_type>;
    using Timer = asio::steady_timer;
    using Error = asio::error_code;
    template <class T>
    using Channel = asio::experimental::channel<void(Error, T)>;

    static void spawn(Context& context, Awaitable<void> coroutine) {
        asio::co_spawn(context, std::move(coroutine), asio::detached);
    }
    template <class F>
    static void post(Context& context, F&& call) {
        asio::post(context, std::forward<F>(call));
    }
    static auto turn() { return asio::post(asio::use_awaitable); }
    static auto executor() { return asio::this_coro::executor; }
    static auto wait(Timer& timer) { return timer.async_wait(asio::use_awaitable); }
    template <class C, class T>
    static auto send(C& channel, T item) {
        return channel.async_send(Error{}, item, asio::use_awaitable);
    }
    template <class C>
    static auto receive(C& channel) {
        return channel.async_receive(asio::use_awaitable);
    }
};
#endif

#ifdef BENCHMARK_BOOST_ASIO
struct BoostAsio {
    static std::string named(const std::string& what) { return "boost::asio::" + what; }
    template <class T>
    using Awaitable = boost::asio::awaitable<T>;
    using Context = boost::asio::io_context;
    using Guard = boost::asio::executor_work_guard<Context::executor_type>;
    using Timer = boost::asio::steady_timer;
    using Error = boost::system::error_code;
    template <class T>
    using Channel = boost::asio::experimental::channel<void(Error, T)>;

    static void spawn(Context& context, Awaitable<void> coroutine) {
        boost::asio::co_spawn(context, std::move(coroutine), boost::asio::detached);
    }
    template <class F>
    static void post(Context& context, F&& call) {
        boost::asio::post(context, std::forward<F>(call));
    }
    static auto turn() { return boost::asio::post(boost::asio::use_awaitable); }
    static auto executor() { return boost::asio::this_coro::executor; }
    static auto wait(Timer& timer) { return timer.async_wait(boost::asio::use_awaitable); }
    template <class C, class T>
    static auto send(C& channel, T item) {
        return channel.async_send(Error{}, item, boost::asio::use_awaitable);
    }
    template <class C>
    static auto receive(C& channel) {
        return channel.async_receive(boost::asio::use_awaitable);
    }
};
#endif

/// Calls `f(library)` with each of the two that is there.
template <class F>
void for_each_asio([[maybe_unused]] F f) {
#ifdef BENCHMARK_ASIO
    f(Asio{});
#endif
#ifdef BENCHMARK_BOOST_ASIO
    f(BoostAsio{});
#endif
}

/// Says which of them are missing.
inline void look_for_asio() {
#ifndef BENCHMARK_ASIO
    missing("Asio");
#endif
#ifndef BENCHMARK_BOOST_ASIO
    missing("Boost.Asio");
#endif
}

}  // namespace benchmark
