// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/remote_call.hpp>

#include <cstddef>
#include <tuple>
#include <vector>

// Shared by the two files of a program whose processes have to find its functions again. The other file only names its
// functions, as a sender does: what is named there is called by this one's workers.

using NameOfCall = std::vector<std::byte>;

template <class Callable>
NameOfCall name_of(const Callable& callable) {
    namespace mp = plait::multiprocessing;
    return mp::encode(mp::detail::name_callable<std::tuple<int>>(callable));
}

/// Each file has this lambda, of one type.
inline NameOfCall name_of_lambda_in_both() {
    return name_of([](int x) { return x + 100; });
}

/// Of identity_other.cpp, which calls them as identity.cpp calls its own.
NameOfCall name_of_other_hidden();
NameOfCall name_of_other_lambda();
NameOfCall name_of_lambda_in_both_by_other();
