#pragma once
/*
Cards played by the host, for tests of the native operations and of Java; part of no jar.

Two CUDA devices without a card. Tensors on cuda:0 and cuda:1 lie in the host's memory; libtorch's operations on them are the CPU's,
own kernels those of libpeft4j_cuda_host.so (cuda/host). This library is opened in the place of libpeft4j_cuda.so: by
load_cuda(its path), in Java by -Dpeft4j.cuda.library. It finds the kernels beside itself, or where PEFT4J_CUDA_HOST_LIBRARY says.
It has to be loaded before libtorch is first asked about CUDA, whose answer libtorch remembers.

What a card would let pass, or show late, is seen at once:

    device    every thread begins on cuda:0, autograd's for cuda:1 too. A device has one stream, which is not the null stream.
              Calls of own kernels are counted, and what is wrong with their device or stream is kept.
    operands  an operation of libtorch on tensors of two devices is refused, as libtorch's CUDA operations refuse it.
    memory    what tensors of a card hold is counted for it, not for the CPU, and more than it has is libtorch's OutOfMemoryError.
              Fresh memory is NaN.
    contexts  a card on which something was allocated, or asked for its free memory, is one on which a process would have a context.
    numbers   products of float32 round what they multiply to TF32 where libtorch may (allowTF32CuBLAS).
    waiting   operations that would make the host wait for the card are counted.
*/
#include <c10/core/Device.h>

#include <string>

#include "peft4j.h"

namespace peft4j::host_devices {

constexpr at::DeviceIndex kCards = 2;

// Whether libtorch is told of the cards. load_cuda of this library does it.
PEFT4J_API void plug_in();
PEFT4J_API void unplug();

// Forgets what was recorded. From now on calls are meant for this card; -1: for any.
PEFT4J_API void record_calls_for(at::DeviceIndex card);
PEFT4J_API std::string launches();  // lines "function TAB calls", of every function of PEFT4J_CUDA_FUNCTIONS
PEFT4J_API std::string wrong();     // a line for each call with a wrong device or stream
PEFT4J_API std::string waits();  // lines "operation TAB times": those after which the host had waited for the card
PEFT4J_API bool has_context(at::DeviceIndex card);  // memory was taken there, or asked for

PEFT4J_API void* stream_of(at::DeviceIndex card);

// As they begin: 8 GiB, compute capability 9.0, a driver for CUDA 13.0 (0: there is none, and no card is seen).
PEFT4J_API void set_memory(at::DeviceIndex card, int64_t bytes);
PEFT4J_API void set_capability(at::DeviceIndex card, int capability);
PEFT4J_API void set_driver(int version);
PEFT4J_API void reset_cards();

// By this load_cuda asks for the functions of peft4j_cuda.h.
extern "C" PEFT4J_API void* peft4j_cuda_find(const char* name);

}  // namespace peft4j::host_devices
