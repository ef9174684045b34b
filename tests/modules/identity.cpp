// SPDX-License-Identifier: MIT
#include "identity.hpp"

#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process.hpp>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>

namespace mp = plait::multiprocessing;

// Several of one signature; two of them of one content too.
int twice(int x) { return 2 * x; }
int thrice(int x) { return 3 * x; }
int thrice_again(int x) { return 3 * x; }

namespace {

int hidden(int x) { return x + 1000; }
const auto lambda = [](int x) { return x + 3000; };
const auto same_lambda = [](int x) { return x + 3000; };

/// What a receiver does.
int call_named(const NameOfCall& name, int x) {
    const auto arguments = mp::encode(x);
    mp::Decoder in(arguments);
    mp::Encoder result;
    mp::detail::call_by_name(mp::decode<mp::detail::CallableName>(name), in, result);
    return mp::decode<int>(result.bytes());
}

struct Adder {
    int summand;
    int operator()(int x) const { return x + summand; }
};

int failures = 0;

void check(int found, int expected, const char* what, int line) {
    if (found == expected) return;
    std::printf("line %d: %s gave %d, not %d\n", line, what, found, expected);
    ++failures;
}
#define CHECK_CALL(call, expected) check(call, expected, #call, __LINE__)

void call_all(mp::StartMethod method) {
    mp::Pool pool(mp::PoolOptions{.processes = 1, .start_method = method});
    CHECK_CALL(pool.apply(twice, 7), 14);
    CHECK_CALL(pool.apply(thrice, 7), 21);
    CHECK_CALL(pool.apply(thrice_again, 7), 21);
    CHECK_CALL(pool.apply(mp::function<&twice>, 7), 14);
    CHECK_CALL(pool.apply(mp::function<&thrice>, 7), 21);
    CHECK_CALL(pool.apply(hidden, 7), 1007);
    CHECK_CALL(pool.apply(call_named, name_of_other_hidden(), 7), 2007);
    CHECK_CALL(pool.apply(lambda, 7), 3007);
    CHECK_CALL(pool.apply(same_lambda, 7), 3007);
    CHECK_CALL(pool.apply(call_named, name_of_other_lambda(), 7), 4007);
    CHECK_CALL(pool.apply(call_named, name_of_lambda_in_both(), 7), 107);
    CHECK_CALL(pool.apply(call_named, name_of_lambda_in_both_by_other(), 7), 107);
    CHECK_CALL(pool.apply(Adder{5}, 7), 12);
    // Of the standard library, whose functions may lie elsewhere in every process.
    CHECK_CALL(pool.apply(static_cast<int (*)(int)>(&std::abs), -7), 7);
    CHECK_CALL(pool.apply(static_cast<int (*)(int)>(&std::toupper), 'a'), 'A');
}

void fail(const std::string& text) { throw std::runtime_error(text); }
void fail_otherwise(const std::string& text) { throw std::logic_error(text); }

template <class Expected>
int comes_home(mp::StartMethod method, void (*function)(const std::string&)) {
    mp::Process process(mp::ProcessOptions{.start_method = method}, function, "text");
    process.start();
    process.join();
    try {
        if (const auto exception = process.exception()) std::rethrow_exception(exception);
    } catch (const Expected& error) {
        return error.what() == std::string("text") ? 1 : 0;
    } catch (...) {
        return -1;
    }
    return -2;
}

}  // namespace

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);
    for (const mp::StartMethod method : {mp::StartMethod::spawn, mp::StartMethod::forkserver}) {
        call_all(method);
        CHECK_CALL(comes_home<std::runtime_error>(method, fail), 1);
        CHECK_CALL(comes_home<std::logic_error>(method, fail_otherwise), 1);
    }
    return failures == 0 ? 0 : 1;
}
