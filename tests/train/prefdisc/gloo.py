"""`train.prefdisc` in gloo processes under one of accelerate's configuration files, read as `accelerate launch` does.

The first argument is the configuration file, the rest are the command's. accelerate shards models on accelerators only;
these processes are told to it as some, so that its own FSDP, and ours around it, run on the processor.
"""

import os
import sys
from pathlib import Path

from accelerate import PartialState
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

OURS = ("ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_")


def environment(file: Path, processes: int, *options: str) -> dict[str, str]:
    """What `accelerate launch --config_file FILE --num_processes N` tells its processes."""
    given = ["--config_file", str(file), "--num_processes", str(processes), "--main_process_port", "0", *options]
    arguments, *_ = _validate_launch_command(launch_command_parser().parse_args([*given, "-m", "train.prefdisc"]))
    if arguments.use_deepspeed:
        arguments.deepspeed_fields_from_accelerate_config = ""
        told = prepare_deepspeed_cmd_env(arguments)[1]
    else:
        told = prepare_multi_gpu_env(arguments)
    return {name: value for name, value in told.items() if name.startswith(OURS)}


def main() -> int:
    from train.prefdisc.__main__ import main as train

    os.environ |= environment(Path(sys.argv.pop(1)), int(os.environ["WORLD_SIZE"]))
    begin = PartialState.__init__

    def told_as_accelerators(self, *arguments, **options):
        begin(self, *arguments, **options)
        if self.distributed_type is DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = told_as_accelerators
    return train()
