// SPDX-License-Identifier: MIT
#pragma once

// The one place that names the version: the build, the packages and the single header read it here.
#define PLAIT_VERSION_MAJOR 0
#define PLAIT_VERSION_MINOR 1
#define PLAIT_VERSION_PATCH 0

/// The version as one number for `#if`: 10000 * major + 100 * minor + patch.
#define PLAIT_VERSION (PLAIT_VERSION_MAJOR * 10000 + PLAIT_VERSION_MINOR * 100 + PLAIT_VERSION_PATCH)
