// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/codec/luggage.hpp>
#include <plait/multiprocessing/remote_call.hpp>

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing {

namespace detail {

/// An encoded call, and the handles of what its arguments share.
struct PackedCall {
    std::vector<std::byte> bytes;
    Incoming handles;
};

}  // namespace detail

/// A call that each worker of a Pool makes before its first task: a function, or a function and its arguments, among
/// which locks, queues and their like may be.
///
///     PoolOptions{.initializer = setup}
///     PoolOptions{.initializer = Initializer(setup, "config.ini", lock)}
class Initializer {
public:
    template <class F, class... Args>
        requires(!std::is_same_v<std::remove_cvref_t<F>, Initializer>)
    Initializer(F&& f, Args&&... args) {
        detail::check_call<std::decay_t<F>, Args...>();
        using Travel = typename detail::CallTraits<std::decay_t<F>, Args...>::Travel;
        const std::decay_t<F> callable(std::forward<F>(f));
        Encoder out;
        detail::Outgoing outgoing;
        out.carry(outgoing);
        out.write(detail::name_callable<Travel>(callable));
        detail::write_arguments<Travel>(out, std::forward<Args>(args)...);
        call_ = std::make_shared<const detail::PackedCall>(
            detail::PackedCall{out.take(), detail::Incoming(std::move(outgoing).take())});
    }

private:
    friend class Pool;
    std::shared_ptr<const detail::PackedCall> call_;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing
