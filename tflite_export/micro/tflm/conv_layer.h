/* What the ops of a convolution share: reading and checking its tensors and window. */
#ifndef TINYTL_TFLM_CONV_LAYER_H_
#define TINYTL_TFLM_CONV_LAYER_H_

#include "node.h"

namespace tinytl {
namespace tflm {

/* A convolution as Prepare leaves it behind for Invoke. */
struct ConvLayer {
  tinytl_conv_params params;
  bool is_float;     /* a float32 kernel, else int8 with scales */
  bool is_pointwise; /* 1x1, stride 1, one group: the kernels of tinytl/pointwise.h do it */
  int workspace;
};

/* Fills layer->params from x, y, the kernel's shape and the window's words, and checks that they fit together. */
bool ReadConvShapes(const Node& node, const TfLiteEvalTensor* x, const TfLiteEvalTensor* y,
                    const TfLiteEvalTensor* kernel, TfLiteType kernel_type, ConvLayer* layer);

/* The params of a layer that is_pointwise. */
tinytl_pointwise_params Pointwise(const ConvLayer& layer);

}  // namespace tflm
}  // namespace tinytl

#endif  // TINYTL_TFLM_CONV_LAYER_H_
