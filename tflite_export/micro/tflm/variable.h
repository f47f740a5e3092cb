/* A trainable tensor in an update op. Its new value is an output: ASSIGN_VARIABLE, or the application, keeps it.
 *
 *   inputs, from `first_input`: value, learning_rate [1], step [1] int32 from 1 (Adam; else -1), gradient_scale [1] or
 *   -1 for 1, first (momentum, Adam), second (Adam)
 *   outputs, from 0: new value, then new first, then new second, as many as the optimiser has
 */
#ifndef TINYTL_TFLM_VARIABLE_H_
#define TINYTL_TFLM_VARIABLE_H_

#include "node.h"

namespace tinytl {
namespace tflm {

constexpr int kVariableInputs = 6;

/* Tensors of a variable's own: value, and the optimiser's slots. */
inline int VariableTensors(const tinytl_optimizer& optimizer) { return static_cast<int>(optimizer.kind) + 1; }

/* Prepare: every tensor is there, of its type, and of `count` elements. */
bool CheckVariable(const Node& node, int first_input, const tinytl_optimizer& optimizer, int64_t count);

/* Invoke: reads learning rate, step and gradient scale into `optimizer`, copies value and slots to the outputs, and
 * points `variable` at those, where a kernel updates them in place. On an error nothing has been written. */
tinytl_status BeginVariable(const Node& node, int first_input, tinytl_optimizer* optimizer, tinytl_variable* variable);

}  // namespace tflm
}  // namespace tinytl

#endif  // TINYTL_TFLM_VARIABLE_H_
