import dataclasses
import json

from tests.tflite_export.runtime.stand_in import INFO
from tflite_export import description
from tflite_export.runtime import info


def test_the_exporter_writes_the_fields_and_the_version_that_the_runtime_reads():
    assert description.Description is info.Description
    assert sorted(INFO) == sorted(field.name for field in dataclasses.fields(info.Description))


def test_what_is_written_is_read():
    assert info.parse_info(info.Description(**INFO).to_json()) == INFO


def test_an_older_file_has_none_of_the_later_options():
    later = ("micro_batch", "clip_norm", "activation_gradients")
    older = {name: value for name, value in INFO.items() if name not in later}
    assert info.parse_info(json.dumps(older).encode()) == INFO
