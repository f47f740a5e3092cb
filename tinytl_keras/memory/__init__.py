"""What training needs in memory: by the paper's accounting, and in the step that is compiled."""

from tinytl_keras.memory._memory_report import memory_report as memory_report
from tinytl_keras.memory.report import LayerMemory as LayerMemory
from tinytl_keras.memory.report import LiveTensor as LiveTensor
from tinytl_keras.memory.report import MemoryReport as MemoryReport
from tinytl_keras.memory.report import Moment as Moment
