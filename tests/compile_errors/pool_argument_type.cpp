// expect: plait: the arguments do not fit the callable: give one for each parameter, of a type that converts
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include <string>
#include <vector>

int length(const std::string& text);

std::vector<int> call(plait::multiprocessing::Pool& pool) {
    return pool.map(length, std::vector<std::vector<double>>{});
}
