#pragma once
/*
The one header that a kernel source includes. nvcc: CUDA's own headers. Any other compiler: the executor of cuda/host/,
which has the same names, runs a launch on the CPU and finds the mistakes that a card keeps quiet about.
*/
#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#else
#include "../host/cuda.h"
#endif

#include "launch.h"
#include "ptx.h"
