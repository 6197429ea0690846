"""Faults of images and of class folders."""

import io
import os
import shutil
import struct
import zlib
from pathlib import Path

from fuzz_cases import BASE, Case, Fault, write_config
from hypothesis import assume
from hypothesis import strategies as st

COLOURS = dict(apple=(200, 30, 30), pear=(30, 200, 30), plum=(60, 30, 120))
OWN_IMAGES = f'''
_base_ = '{BASE}'
images = dict(_delete_=True, type='FolderLT', {{source}}, test_share={{share}})
data_preprocessor = dict(num_classes=3, mean=[0.5] * 3, std=[0.2] * 3)
model = dict(backbone=dict(depth=8, in_channels=3))
train_dataloader = dict(batch_size=4, dataset=images)
val_dataloader = test_dataloader = dict(batch_size=4, dataset=dict(images, split='test'))
train_cfg = dict(max_epochs=1)
'''
FORMATS = ('png', 'jpg', 'gif', 'bmp', 'tif', 'webp', 'ppm')
DAMAGES = ('cut', 'zeros', 'empty', 'text', 'noise', 'header')


# -- images ---------------------------------------------------------------------------------


def picture(name: str = 'apple', size: int = 24, mode: str = 'RGB'):
    from PIL import Image
    image = Image.new('RGB', (size, size), COLOURS[name])
    for place in range(size):         # so that every format has something to say
        image.putpixel((place, (place * 7) % size), (place * 9 % 256, 10, 200))
    return image.convert(mode)


def class_folders(root: Path, each: int = 4, suffix: str = 'png') -> Path:
    for name in COLOURS:
        (root / name).mkdir(parents=True)
        for number in range(each):
            picture(name).save(root / name / f'{number}.{suffix}')
    return root


def own_config(folder: Path, source: str, share: float | None = 0.25) -> Path:
    return write_config(folder, OWN_IMAGES.format(source=source, share=share))


def training(folder: Path, source: str, culprits: tuple, share: float | None = 0.25,
             **more) -> Case:
    return Case(['train', own_config(folder, source, share), '--work-dir', '{run}'], culprits,
                **more)


@st.composite
def broken_images(draw):
    suffix, damage = draw(st.sampled_from(FORMATS)), draw(st.sampled_from(DAMAGES))
    share, noise = draw(st.integers(1, 90)), draw(st.binary(min_size=8, max_size=40))

    def write(folder):
        root = class_folders(folder / 'images')
        buffer = io.BytesIO()
        picture('pear').save(buffer, {'jpg': 'JPEG', 'tif': 'TIFF'}.get(suffix, suffix.upper()))
        whole = buffer.getvalue()
        content = {'cut': whole[:len(whole) * share // 100], 'zeros': bytes(len(whole)),
                   'empty': b'', 'text': b'this is no image\n', 'noise': b'\x00' + noise,
                   'header': bytes(8) + whole[8:]}[damage]
        (root / 'pear' / f'broken.{suffix}').write_bytes(content)
        return training(folder, f"root={str(root)!r}, verify='full'", (f'broken.{suffix}',))
    how = f'{damage} at {share} percent' if damage == 'cut' else damage
    return Fault(f'{suffix}: {how}' + (f' {noise.hex()}' if damage == 'noise' else ''), write)


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises a huge picture; a few bytes long."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (struct.pack('>I', len(content)) + kind + content
                + struct.pack('>I', zlib.crc32(kind + content)))
    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
            + chunk(b'IDAT', zlib.compress(bytes(100))) + chunk(b'IEND', b''))


@st.composite
def refused_images(draw):
    kind = draw(st.sampled_from(['bomb', 'animated', 'other size', 'floating point', 'folder']))
    suffix = draw(st.sampled_from(['gif', 'webp', 'png', 'tif']))
    frames, side = draw(st.integers(2, 5)), draw(st.integers(14000, 60000))

    def write(folder):
        root = class_folders(folder / 'images')
        path = root / 'pear' / f'odd.{suffix}'
        if kind == 'bomb':
            path = path.with_suffix('.png')
            path.write_bytes(bomb(side, side))
        elif kind == 'animated':
            first, *rest = [picture(list(COLOURS)[n % 3]) for n in range(frames)]
            first.save(path, save_all=True, append_images=rest)
        elif kind == 'other size':
            picture('pear', 8 + frames).save(path)
        elif kind == 'floating point':
            path = path.with_suffix('.tif')
            picture('pear', mode='L').convert('F').save(path)
        else:
            path.mkdir()
            (path / 'note.txt').write_text('')
            (path / 'x.png').write_bytes(b'')
        return training(folder, f"root={str(root)!r}, verify='full'", (path.name,))
    what = {'bomb': f'{side} x {side} pixels', 'animated': f'{suffix} of {frames} frames',
            'other size': f'{8 + frames} pixels among 24', 'floating point': 'floating point',
            'folder': f'a folder named like a {suffix} with an empty file'}[kind]
    return Fault(what, write)


@st.composite
def unusual_images(draw):
    """Images that are right: read as a viewer shows them."""
    mode = draw(st.sampled_from(['CMYK', 'L', '1', 'P', 'RGBA', 'LA', '16 bits', 'wrong name']))
    level = draw(st.integers(0, 255))
    suffix = draw(st.sampled_from(['png', 'tif']))

    def write(folder):
        from PIL import Image
        root = class_folders(folder / 'images')
        expected = (level, level, level)
        path = root / 'pear' / f'0.{suffix}'
        (root / 'pear' / '0.png').unlink()
        flat = Image.new('RGB', (24, 24), expected)
        if mode == '16 bits':
            import numpy as np
            Image.fromarray(np.full((24, 24), level * 257, dtype=np.uint16)).save(path)
        elif mode == 'CMYK':
            path = path.with_suffix('.tif')
            flat.convert('CMYK').save(path)
        elif mode == 'wrong name':
            path = path.with_suffix('.jpg')
            flat.save(path, 'PNG')
        elif mode == '1':
            expected = (255,) * 3 if level > 127 else (0,) * 3
            Image.new('L', (24, 24), expected[0]).convert('1').save(path)
        elif mode in ('RGBA', 'LA'):
            Image.new('RGBA', (24, 24), (*expected, 0)).convert(mode).save(path)
            expected = (255, 255, 255)        # nothing but the white behind it
        elif mode == 'P':
            flat.quantize(2).save(path)
        else:
            flat.convert(mode).save(path)
        return Case([], reads=lambda: shown(root, expected))
    return Fault(f'{mode}, level {level}, {suffix}', write)


def shown(root: Path, expected: tuple) -> str | None:
    """What is wrong with the first image of the second class, which is of one colour."""
    from ltcls.datasets import FolderLT
    images = FolderLT(root=str(root), verify='full')
    index = images.labels.tolist().index(1)
    found = images[index]['inputs']
    colour = found.reshape(3, -1)
    if len(images) != 12 or found.shape != (3, 24, 24):
        return f'{len(images)} images, the odd one of shape {list(found.shape)}'
    if (colour.amin(1) - colour.amax(1)).any() or any(
            abs(int(a) - b) > 1 for a, b in zip(colour[:, 0], expected)):
        return f'the colour is {colour[:, 0].tolist()}, not {expected}'
    return None


def counted(root: Path, names: list[str]) -> str | None:
    """What is wrong with the classes that are found in class folders of two images each."""
    from ltcls.datasets import FolderLT
    meta = FolderLT(root=str(root)).metainfo
    if meta['classes'] != names or meta['class_counts'] != [2] * len(names):
        return f"found {meta['classes']} with {meta['class_counts']} images"
    return None


# -- folders --------------------------------------------------------------------------------


ODD_NAMES = st.text(st.characters(blacklist_categories=('Cs', 'Cc'), blacklist_characters='/'),
                    min_size=1, max_size=60)


@st.composite
def broken_folders(draw):
    kind = draw(st.sampled_from([
        'an empty class', 'a class of other files', 'nothing', 'no folder', 'a file',
        'no test folder', 'an unknown test class', 'one image', 'another number of classes',
        'a loop',
        'a broken link', 'hidden classes', 'a class named by classes= only']))
    name = draw(ODD_NAMES)
    assume(name.strip('. ') and not name.startswith('.') and len(os.fsencode(name)) < 200)
    assume(name not in COLOURS and name not in ('train', 'test', 'val', 'dev'))

    def write(folder):
        root = folder / 'images'
        if kind not in ('nothing', 'no folder', 'a file'):
            class_folders(root)
        source, culprits, share = f'root={str(root)!r}', (str(root), name), 0.25
        if kind == 'an empty class':
            (root / name).mkdir()
        elif kind == 'a class of other files':
            (root / name).mkdir()
            (root / name / 'notes.txt').write_text('nothing to see')
        elif kind == 'nothing':
            root.mkdir()
        elif kind == 'a file':
            root.write_text('')
        elif kind in ('no test folder', 'an unknown test class'):
            shutil.move(root, folder / 'classes')
            root.mkdir()
            shutil.move(folder / 'classes', root / 'train')
            share = None
            if kind == 'an unknown test class':
                shutil.copytree(root / 'train', root / 'test')
                shutil.copytree(root / 'train' / 'pear', root / 'test' / name)
                culprits = (name, 'test')
            else:
                culprits = ('test',)
        elif kind == 'one image':
            (root / name).mkdir()
            picture().save(root / name / 'only.png')
            culprits = ('num_classes', name)
        elif kind == 'another number of classes':
            shutil.copytree(root / 'pear', root / name)
            culprits = ('num_classes',)
        elif kind == 'a loop':
            (root / 'pear' / name).symlink_to(root / 'pear', target_is_directory=True)
        elif kind == 'a broken link':
            (root / 'pear' / 'broken.png').symlink_to(root / 'nowhere.png')
            culprits = ('broken.png',)
        elif kind == 'hidden classes':
            for path in list(root.iterdir()):
                path.rename(root / f'.{path.name}')
        elif kind == 'a class named by classes= only':
            source += f', classes={["apple", "pear", name]!r}'
            culprits = (name, 'plum')
        return training(folder, source, culprits, share)
    return Fault(f'{kind} ({name!r})', write)


@st.composite
def unusual_folders(draw):
    """Class names in any script and of any length are names like others."""
    names = draw(st.lists(ODD_NAMES, min_size=3, max_size=3, unique=True))
    longest = draw(st.booleans())
    assume(all(n.strip('. ') and not n.startswith('.') and len(os.fsencode(n)) < 200
               and n not in ('train', 'test', 'val', 'dev') for n in names))

    def write(folder):
        root = folder / 'images'
        chosen = [n + '-' * (255 - len(os.fsencode(n))) for n in names] if longest else names
        for colour, name in zip(COLOURS, chosen):
            (root / name).mkdir(parents=True)
            for number in range(2):
                picture(colour).save(root / name / f'{number}.png')
        return Case([], reads=lambda: counted(root, sorted(chosen)))
    return Fault(f'{names!r}' + (' of 255 bytes' if longest else ''), write)


KINDS = {
    'image: damaged': (broken_images(), 4),
    'image: of a kind that is refused': (refused_images(), 3),
    'image: unusual and right': (unusual_images(), 2), 'class folders': (broken_folders(), 4),
    'class folders: unusual and right': (unusual_folders(), 1)}
