"""Faults of lists, of the files of a run, and of checkpoints."""

import contextlib
import functools
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

from fuzz_cases import BASE, Case, Fault, write_config
from fuzz_images import COLOURS, OWN_IMAGES, class_folders, training
from hypothesis import assume
from hypothesis import strategies as st

# -- lists ----------------------------------------------------------------------------------


ROWS = ['path,label,split'] + [f'{name}/{n}.png,{name},{"test" if n == 3 else "train"}'
                               for name in COLOURS for n in range(4)]


@st.composite
def broken_lists(draw):
    row = draw(st.integers(1, len(ROWS) - 1))
    word = draw(st.text(st.characters(blacklist_categories=('Cs', 'Cc'),
                                      blacklist_characters=',"\'\\'), min_size=1, max_size=12))
    kind = draw(st.sampled_from([
        'no header', 'a renamed column', 'semicolons', 'an empty label', 'an unknown split',
        'a missing file', 'NUL bytes', 'not UTF-8', 'an empty file', 'a header alone',
        'a short line', 'an unknown test label', 'a line twice', 'a folder as image',
        'an open quote', 'no file',
        'JSON', 'a path outside', 'UTF-16']))
    word = word.strip()
    assume(word and word not in ('train', 'val', 'test') and word not in COLOURS)

    def write(folder):
        class_folders(folder / 'images')
        lines, path = list(ROWS), folder / 'images' / 'list.csv'
        name, label, split = lines[row].split(',')
        changed = {
            'an empty label': f'{name},,{split}', 'an unknown split': f'{name},{label},{word}',
            'a missing file': f'{word}.png,{label},train', 'a short line': name,
            'an unknown test label': f'{name},{word},test',
            'a folder as image': f'{label},{label},{split}',
            'an open quote': f'"{name},{label},{split}', 'a path outside':
            f'../../../../etc/{word},{label},{split}'}
        lines[row] = changed.get(kind, lines[row])
        if kind == 'no header':
            del lines[0]
        elif kind == 'a renamed column':
            lines[0] = lines[0].replace(('path', 'label', 'split')[row % 3], word.replace(' ', '_'))
        elif kind == 'semicolons':
            lines = [line.replace(',', ';') for line in lines]
        elif kind == 'a line twice':
            lines.append(lines[row])
        elif kind == 'a header alone':
            del lines[1:]
        content = '\n'.join(lines).encode() + b'\n'
        if kind == 'NUL bytes':
            content = content[:30 + row] + b'\x00' + content[30 + row:]
        elif kind == 'not UTF-8':
            content = content.replace(b'apple', b'\xe4pfel\xff')
        elif kind == 'UTF-16':
            content = content.decode().encode('utf-16')
        elif kind == 'an empty file':
            content = b''
        elif kind == 'JSON':
            content = json.dumps(lines).encode()
        if kind != 'no file':
            path.write_bytes(content)
        absent = kind in ('a missing file', 'a path outside')
        missing = changed[kind].split(',')[0] if absent else ''
        culprits = ('list.csv', *([Path(missing).name] if missing else []),
                    *([label] if kind == 'a folder as image' else []))
        return training(folder, f'csv={str(path)!r}', culprits, None)
    return Fault(f'{kind} (line {row}, {word!r})', write)


@st.composite
def broken_public_lists(draw):
    lines = [f'train/n0{n % 5}/{n}.JPEG {n % 5}' for n in range(12)]
    row = draw(st.integers(0, len(lines) - 1))
    changed = draw(st.sampled_from([
        '', 'train/x.JPEG', 'train/x.JPEG one', 'train/x.JPEG -1', 'train/x.JPEG 1000',
        'train/x.JPEG 1.5', '3', 'train/x.JPEG\x00 1', 'train/x.JPEG 1 2', '\xff\xfe']))

    def write(folder):
        lines[row] = changed
        path = folder / 'ImageNet_LT_train.txt'
        path.write_bytes('\n'.join(lines).encode('latin-1') + b'\n')
        config = write_config(folder, OWN_IMAGES.format(source='', share=0).replace(
            "type='FolderLT', , test_share=0", f"type='ImageNetLT', root={str(folder)!r}").replace(
            'num_classes=3', 'num_classes=1000'))
        return Case(['train', config, '--work-dir', '{run}'], (path.name, 'ImageNet'))
    return Fault(f'line {row + 1} is {changed!r}', write)


# -- the files of a run ---------------------------------------------------------------------


RUN_CONFIG = f'''
_base_ = '{BASE}'
model = dict(backbone=dict(depth=8))
param_scheduler = None
default_hooks = dict(checkpoint=dict(interval=1))
train_cfg = dict(max_epochs=2, val_interval=1)
'''


@functools.cache
def finished() -> tuple[Path, tempfile.TemporaryDirectory]:
    """The folder of a finished run of two epochs, which lives as long as this process."""
    from unittest.mock import patch

    from ltcls.cli import main
    holder = tempfile.TemporaryDirectory(prefix='ltcls-fuzz-run-', dir='/tmp')
    folder = Path(holder.name)
    with patch('ltcls.commands.arguments.report', lambda *arguments: None), \
            contextlib.redirect_stdout(io.StringIO()):
        status = main(['train', str(write_config(folder, RUN_CONFIG, 'run_small_digits.py')),
                       '--work-dir', str(folder / 'run')])
    assert status == 0
    return folder / 'run', holder


def half_done(folder: Path) -> tuple[Path, Path]:
    """A copy of the run after its first epoch, and its config."""
    run = Path(shutil.copytree(finished()[0], folder.parent / 'run'))
    for name in ('evaluation.json', 'epoch_2.pth', 'last_checkpoint'):
        (run / name).unlink()
    log = (run / 'log.jsonl').read_text().splitlines(keepends=True)
    (run / 'log.jsonl').write_text(log[0])
    return run, write_config(folder, RUN_CONFIG, 'run_small_digits.py')


@st.composite
def broken_run_files(draw):
    name = draw(st.sampled_from(['config.json', 'log.jsonl', 'evaluation.json']))
    kind = draw(st.sampled_from(['cut', 'text', 'list', 'noise', 'number']))
    share, noise = draw(st.integers(5, 90)), draw(st.binary(min_size=4, max_size=12))

    def write(folder):
        run, config = half_done(folder)
        if name == 'evaluation.json':
            shutil.rmtree(run)
            shutil.copytree(finished()[0], run)
        whole = (run / name).read_bytes()
        (run / name).write_bytes({
            'cut': whole[:len(whole) * share // 100], 'text': b'nothing\n', 'list': b'[1, 2]\n',
            'noise': b'\xff' + noise, 'number': b'3\n'}[kind])
        return Case(['train', config, '--work-dir', '{run}', '--resume'], (name,))
    return Fault(f'{name}: {kind}' + (f' at {share} percent' if kind == 'cut' else '')
                 + (f' {noise.hex()}' if kind == 'noise' else ''), write)


@st.composite
def broken_pointers(draw):
    """A pointer to nothing is passed over, and that is right."""
    text = draw(st.text(st.characters(blacklist_categories=('Cs', 'Cc')), max_size=30))

    def write(folder):
        run, config = half_done(folder)
        (run / 'last_checkpoint').write_text(text, encoding='utf-8')
        return Case(['train', config, '--work-dir', '{run}', '--resume'],
                    words=('continuing from epoch_1.pth',))
    return Fault(f'last_checkpoint says {text!r}', write)


# -- checkpoints ----------------------------------------------------------------------------


class Calls:
    """Pickled as a call of a function: what a checkpoint must never bring about."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


CALLS = {'os.system': lambda path: Calls(os.system, f'touch {path}'),
         'eval': lambda path: Calls(eval, f'open({str(path)!r}, "w")'),
         'exec': lambda path: Calls(exec, f'open({str(path)!r}, "w")'),
         'open': lambda path: Calls(open, str(path), 'w'),
         'Path.touch': lambda path: Calls(Path.touch, path),
         'os.mkdir': lambda path: Calls(os.mkdir, str(path)),
         'getattr': lambda path: Calls(getattr, '', 'upper')}


@st.composite
def broken_checkpoints(draw):
    kind = draw(st.sampled_from([
        'cut', 'changed byte', 'noise', 'empty', 'text', 'a list', 'a number', 'no weights',
        'weights that are no tensors', 'another number of classes', 'a missing weight',
        'an unknown weight', 'NaN', 'code', 'code without archive', 'no file']))
    share, noise = draw(st.integers(1, 95)), draw(st.binary(min_size=1, max_size=60))
    call, test = draw(st.sampled_from(sorted(CALLS))), draw(st.booleans())

    def write(folder):
        import torch
        run, config = half_done(folder)
        path = folder / 'mine.pth'
        whole = (run / 'epoch_1.pth').read_bytes()
        shutil.rmtree(run)
        content = torch.load(io.BytesIO(whole))
        state = content['state_dict']
        names = [name for name in state if name.startswith(('backbone.', 'head.'))
                 and 'num_batches' not in name]
        name = names[share % len(names)]
        if kind == 'another number of classes':
            state.update({'head.weight': torch.zeros(7, state['head.weight'].size(1)),
                          'head.bias': torch.zeros(7), 'class_counts': torch.ones(7).double()})
        elif kind == 'a missing weight':
            del state[name]
        elif kind == 'an unknown weight':
            state[f'neck{share}.weight'] = torch.zeros(3)
        elif kind == 'NaN':
            state[name].view(-1)[0] = torch.nan
        elif kind == 'no weights':
            del content['state_dict']
        elif kind == 'weights that are no tensors':
            state[name] = 'zero'
        elif kind in ('a list', 'a number'):
            content = [1, 2] if kind == 'a list' else 3
        elif kind.startswith('code'):
            content['meta']['more'] = CALLS[call](folder / 'written-by-a-checkpoint')
        place = len(whole) * share // 100
        raw = {'cut': whole[:place], 'noise': noise, 'empty': b'', 'text': b'not a checkpoint\n',
               'changed byte': whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1:]}
        if kind in raw:
            path.write_bytes(raw[kind])
        elif kind != 'no file':
            torch.save(content, path, _use_new_zipfile_serialization=kind != 'code without archive')
        command = ['test', config, path] if test else ['train', config, '--resume', path]
        return Case([*command, '--work-dir', '{run}'], ('mine.pth',))
    more = {'cut': f' at {share} percent', 'changed byte': f' at {share} percent',
            'noise': f' {noise.hex()}', 'code': f': {call}', 'code without archive': f': {call}'}
    return Fault(f"{'test' if test else 'resume'}: {kind}{more.get(kind, '')}", write)


KINDS = {
    'list: CSV': (broken_lists(), 5), 'list: of a public data set': (broken_public_lists(), 1),
    'file of a run': (broken_run_files(), 2),
    'file of a run: a pointer to nothing': (broken_pointers(), 1),
    'checkpoint': (broken_checkpoints(), 6)}
