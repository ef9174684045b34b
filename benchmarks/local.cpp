// SPDX-License-Identifier: MIT
//
// What does it cost to find a thread's own value?

#include <plait/threading/local.hpp>

#ifdef BENCHMARK_TBB
#  include <oneapi/tbb/enumerable_thread_specific.h>
#endif

#include <pthread.h>

#include <cstddef>
#include <memory>

#include "table.hpp"

namespace {

template <class One>
double each(One one) {
    const std::size_t count = benchmark::scaled(20'000'000);
    return benchmark::nanoseconds([&] {
               for (std::size_t i = 0; i < count; ++i) {
                   one();
                   benchmark::keep(i);  // so that the place is looked up each time
               }
           }) /
           static_cast<double>(count);
}

thread_local long language_value = 0;
plait::threading::Local<long> local;

double with_pthread() {
    static const pthread_key_t key = [] {
        pthread_key_t made{};
        pthread_key_create(&made, [](void* value) { delete static_cast<long*>(value); });
        return made;
    }();
    if (pthread_getspecific(key) == nullptr) pthread_setspecific(key, std::make_unique<long>(0).release());
    return each([] { ++*static_cast<long*>(pthread_getspecific(key)); });
}

#ifdef BENCHMARK_TBB
double with_tbb() {
    static tbb::enumerable_thread_specific<long> value;
    return each([] { ++value.local(); });
}
double with_tbb_key() {
    static tbb::enumerable_thread_specific<long, tbb::cache_aligned_allocator<long>, tbb::ets_key_per_instance> value;
    return each([] { ++value.local(); });
}
#endif

}  // namespace

int main() {
    benchmark::Table table{"C3: find the thread's own value, and count it up", benchmark::ns, "at most 1.3 ns"};
    table.bare("thread_local", [] { return each([] { ++language_value; }); });
    table.peer("pthread_getspecific", with_pthread);
#ifdef BENCHMARK_TBB
    table.peer("tbb::enumerable_thread_specific", with_tbb);
    table.peer("the same, with a key for each instance", with_tbb_key);
#else
    benchmark::missing("TBB");
#endif
    table.plait("Local", [] { return each([] { ++*local; }); });
    table.run();
}
