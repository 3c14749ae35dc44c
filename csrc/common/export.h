#pragma once

#define COLLOC_EXPORT __attribute__((visibility("default")))
