"""timm models with the weights that timm downloads, and one line where it cannot."""

from torch import nn

FILES = ('model.safetensors', 'pytorch_model.bin', 'open_clip_model.safetensors',
         'open_clip_pytorch_model.bin')
SECONDS = 10      # to wait for an answer


def from_hub(name: str, argument: str = 'weights', **options) -> nn.Module:
    """A timm model without its classifier, with the weights that belong to its name.

    The hub's client tries for minutes to reach a network that is not there, so one short question
    is asked first, where the weights are not in the cache.

    Args:
        name: of the model, with the tag of its weights.
        argument: of the backbone, that takes a local file.
        options: further arguments of `timm.create_model`.

    Raises:
        OSError: weights that are neither in the cache nor can be downloaded, or that do not exist.
    """
    import timm
    try:
        source = timm.get_pretrained_cfg(name)
    except RuntimeError:      # a tag that it does not know
        source = None
    page = source and (source.hf_hub_id or source.url)
    if not page:
        raise OSError(f"timm has no weights for '{name}'; `timm.list_pretrained("
                      f"'{name.partition('.')[0]}*')` shows the names that have.")
    try:
        if source.hf_hub_id:
            page = f'https://huggingface.co/{source.hf_hub_id}'
            _ask(source)
        return timm.create_model(name, pretrained=True, num_classes=0, **options)
    except Exception as error:      # of timm, of the hub and of what it talks to the network with
        timm.create_model(name, num_classes=0, **options)     # raises where the options are wrong
        from huggingface_hub.constants import HF_HUB_CACHE
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:150]
        raise OSError(
            f"The weights of '{name}' are neither in the cache {HF_HUB_CACHE} nor could timm "
            f'download them from {page} ({reason}). Go online once, or fetch model.safetensors '
            f'from there and set model.backbone.{argument} to its path.') from error


def _ask(source) -> None:
    """Raise unless the files of these weights are cached or the hub answers."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError
    repository, _, revision = source.hf_hub_id.partition('@')
    files = [source.hf_hub_filename, *FILES] if source.hf_hub_filename else FILES
    if any(isinstance(try_to_load_from_cache(repository, file, revision=revision or None), str)
           for file in files):
        return
    try:
        get_hf_file_metadata(hf_hub_url(repository, files[0], revision=revision or None),
                             timeout=SECONDS)
    except HfHubHTTPError:
        pass      # it answered; what it has is for timm to find out
