"""Read a run's event files with TensorBoard's own reader and compare them with metrics.jsonl.

    python tensorboard_parity.py RUN

RUN is a run's folder. Needs the package tensorboard. Every point of metrics.jsonl must be there with its step and its value
as f32, and nothing else. Exits 1 otherwise.
"""

import collections
import json
import math
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
from tensorboard.util import tensor_util


def f32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def main():
    run = sys.argv[1]
    wanted = collections.defaultdict(list)
    with open(f"{run}/metrics.jsonl", encoding="utf-8") as f:
        for line in f:
            point = json.loads(line)
            if not isinstance(point["value"], str) and math.isfinite(point["value"]):
                wanted[point["stage"], point["series"]].append((point["step"], f32(point["value"])))
    ok = bool(wanted)
    for stage in sorted({stage for stage, _ in wanted}):
        events = EventAccumulator(f"{run}/tensorboard.events/{stage}", size_guidance={TENSORS: 0})
        events.Reload()
        found = {tag: [(e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]
                 for tag in events.Tags()["tensors"]}
        found |= {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        series = {series: points for (s, series), points in wanted.items() if s == stage}
        same = found == series
        ok &= same
        print(f"{stage}: {len(found)} series, {sum(map(len, found.values()))} points in TensorBoard, "
              f"{len(series)} and {sum(map(len, series.values()))} in metrics.jsonl  {'ok' if same else 'FAIL'}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
