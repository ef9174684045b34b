// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/shared_object.hpp>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// The Codec of a class whose one member is `Shared<State> state_`, and that can be made from one.
template <class Object>
struct SharedHandleCodec {
    static constexpr bool carries_handles = true;

    static void encode(Encoder& out, const Object& object) { put_shared(out, object.state_); }
    static Object decode(Decoder& in) { return Object{get_shared<typename Object::State>(in)}; }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
