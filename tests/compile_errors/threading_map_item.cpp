// expect: map and imap call the callable with one item of the range
// SPDX-License-Identifier: MIT
#include <plait/threading/pool.hpp>

#include <string>
#include <vector>

int main() {
    plait::threading::ThreadPool pool;
    const std::vector<std::string> words{"one"};
#if defined(NO_MISTAKE)
    pool.map([](const std::string& x) { return x; }, words);
#else
    pool.map([](int x) { return x; }, words);
#endif
}
