"""Reads the configs of a model repository with Triton's own protocol buffers, and prints them as JSON.

It runs in an environment of its own, whose protobuf is older than that of the tests.
"""

import json
import sys
from pathlib import Path

from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

read = {}
for path in sorted(Path(sys.argv[1]).glob("*/config.pbtxt")):
    config = text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())
    read[path.parent.name] = json_format.MessageToDict(config, preserving_proto_field_name=True)
json.dump(read, sys.stdout)
