// SPDX-License-Identifier: MIT
#include "identity.hpp"

namespace {

int hidden(int x) { return x + 2000; }
const auto lambda = [](int x) { return x + 4000; };

}  // namespace

NameOfCall name_of_other_hidden() { return name_of(&hidden); }
NameOfCall name_of_other_lambda() { return name_of(lambda); }
NameOfCall name_of_lambda_in_both_by_other() { return name_of_lambda_in_both(); }
