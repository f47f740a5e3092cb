/* The training kernels of TinyTL for microcontrollers: portable C11, no allocation, no global state.
 * Conventions are in types.h. */
#ifndef TINYTL_TINYTL_H
#define TINYTL_TINYTL_H

#include "tinytl/bias.h"
#include "tinytl/convolution.h"
#include "tinytl/depthwise.h"
#include "tinytl/elementwise.h"
#include "tinytl/group_norm.h"
#include "tinytl/loss.h"
#include "tinytl/optimizer.h"
#include "tinytl/pointwise.h"
#include "tinytl/pooling.h"
#include "tinytl/quantized.h"
#include "tinytl/resize.h"
#include "tinytl/types.h"

#endif
