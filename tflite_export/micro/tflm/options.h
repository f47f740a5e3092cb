/* Custom options: 4-byte little-endian words, no padding. First the version, 1; then six words of a window, where the
 * op has one; then seven words of an optimiser, where the op has one. The length must be that of the op, to the byte.
 *
 *   window     stride_height, stride_width, pad_top, pad_left, groups, activation      int32; see tinytl_window
 *   optimiser  kind, nesterov (int32); momentum, beta_1, beta_2, epsilon, weight_decay (float32)
 */
#ifndef TINYTL_TFLM_OPTIONS_H_
#define TINYTL_TFLM_OPTIONS_H_

#include "node.h"

namespace tinytl {
namespace tflm {

constexpr int32_t kOptionsVersion = 1;

/* Each reads all of the node's options: false, with a line by MicroPrintf, where length, version or a value is wrong.
 * The window's height and width are the caller's to fill in. */
bool ReadNoOptions(const Node& node);
bool ReadWindow(const Node& node, tinytl_window* window, int32_t* groups, tinytl_activation* activation);
bool ReadOptimizer(const Node& node, tinytl_optimizer* optimizer);
bool ReadWindowAndOptimizer(const Node& node, tinytl_window* window, int32_t* groups, tinytl_activation* activation,
                            tinytl_optimizer* optimizer);

}  // namespace tflm
}  // namespace tinytl

#endif  // TINYTL_TFLM_OPTIONS_H_
