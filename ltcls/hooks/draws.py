"""Random numbers that are drawn once more."""

from contextlib import contextmanager

import torch


class Draws:
    """The random numbers that were drawn from some moment on, to be drawn again.

    A copy (`copy.copy`) begins where this one stands.

    Args:
        device: of the model; its generator and the host's are looked at now.
        seed: where the numbers begin instead.
    """

    def __init__(self, device: torch.device, seed: int | None = None):
        self.devices = [device] if device.type == 'cuda' else []
        self.states = self._now() if seed is None else [
            torch.Generator(place).manual_seed(seed).get_state() for place in ('cpu', *self.devices)]

    @contextmanager
    def again(self):
        """Inside, these numbers are drawn, the second time from where the first ended.

        The generators are left as they were.
        """
        with torch.random.fork_rng(devices=self.devices):
            torch.set_rng_state(self.states[0])
            for device, state in zip(self.devices, self.states[1:]):
                torch.cuda.set_rng_state(state, device)
            yield
            self.states = self._now()

    def _now(self) -> list[torch.Tensor]:
        return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self.devices)]
