// expect: plait: a Generator cannot await: make it an asyncio::AsyncGenerator
// SPDX-License-Identifier: MIT
#include <plait/core/generator.hpp>

#include <coroutine>

plait::Generator<int> mixed() {
#ifndef NO_MISTAKE
    co_await std::suspend_always{};
#endif
    co_yield 1;
}
