"""The documentation against the repository: links, commands, names, examples."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from ltcls.cli import COMMANDS, parser
from ltcls.commands.arguments import parse_cfg_options
from ltcls.engine.configs import config_names
from ltcls.engine.prepare import Options, load_config

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md')),
         *sorted((ROOT / 'configs').rglob('*.md'))]
FENCE = re.compile(r'^```(\w*)\n(.*?)^```', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\(([^)\s]+)\)')
COMMAND = re.compile(r'(?:ltcls|python tools/\w+\.py)(?: [^`|]*)?')
CONFIG_NAME = re.compile(r'\b[a-z][a-z0-9-]*(?:_[a-z0-9-]+)*_resnet\d+_[a-z0-9]+(?:-[a-z0-9]+)*\b')
SHELLS = ('bash', 'sh', 'console', '')
EXAMPLE = ROOT / 'docs' / 'adding_a_method.md'
by_page = pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))


class Block(NamedTuple):
    language: str
    code: str

    @property
    def file(self) -> str:
        """The name in a first line such as '# flowers.py', or ''."""
        found = re.match(r'# ([\w./-]+\.(?:py|cfg))\n', self.code)
        return found[1] if found else ''

    @property
    def body(self) -> str:
        return self.code.split('\n', 1)[1] if self.file else self.code


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding='utf-8'))]


def commands(page: Path) -> list[list[str]]:
    """The words of every ltcls command on a page: in code blocks, indented or between backticks."""
    text = page.read_text(encoding='utf-8')
    shell = [block.code for block in blocks(page) if block.language in SHELLS]
    rest = FENCE.sub('', text)
    shell += [line[4:] for line in rest.splitlines() if line.startswith('    ')]
    lines = [line.removeprefix('$ ').strip() for code in shell
             for line in code.replace('\\\n', ' ').splitlines()]
    lines += re.findall(r'`([^`\n]+)`', rest)
    found = []
    for line in lines:
        # What may stand before a command: another one that starts it, or settings.
        line = re.sub(r'^(?:torchrun(?: --\w+ \d+)* (?=tools)|(?:[A-Z_]+=\S+ )+)', '', line)
        line = re.sub(r'^tools/', 'python tools/', line)
        if COMMAND.fullmatch(line.split(' #')[0].rstrip()):
            words = shlex.split(line, comments=True)
            if words[0] == 'python':
                if words[1] in ('tools/train.py', 'tools/test.py'):
                    found.append([Path(words[1]).stem, *words[2:]])
            elif len(words) > 1:
                found.append(words[1:])
    return found


def own_files(page: Path) -> set[str]:
    return {Path(block.file).name for block in blocks(page) if block.file}


def heading_anchors(page: Path) -> set[str]:
    text = FENCE.sub('', page.read_text(encoding='utf-8'))
    titles = re.findall(r'^#+ (.+)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


@by_page
def test_every_relative_link_leads_somewhere(page):
    text = FENCE.sub('', page.read_text(encoding='utf-8'))
    for target in LINK.findall(text):
        if re.match(r'[a-z]+:', target):
            continue
        path, _, anchor = target.partition('#')
        found = (page.parent / path) if path else page
        assert found.exists(), f'{target} does not exist'
        if anchor:
            assert anchor in heading_anchors(found), f'{target}: no such heading'


@by_page
def test_every_command_is_accepted_and_names_a_config_that_exists(page):
    known = {*config_names(), *own_files(page), *(Path(f).stem for f in own_files(page))}
    for words in commands(page):
        if words == ['--version'] or words in [[name] for name in COMMANDS]:
            continue      # a command that is only mentioned
        try:
            options = parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"'ltcls {shlex.join(words)}' is not accepted")
        if not hasattr(options, 'config') or options.config.isupper():
            continue
        exists = options.config in known or (ROOT / options.config).is_file()
        assert exists, f"'{options.config}' is no config"
        if options.config in config_names():
            # The keys that a command changes, too, are keys of the config.
            load_config(options.config, Options(cfg_options=parse_cfg_options(options.cfg_options)))


def test_commands_are_found_in_blocks_in_lines_and_between_backticks(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('''Say `ltcls train a --amp`, not `ltcls`, or

    A_B=1 ltcls list    # everything

```bash
torchrun --nproc_per_node 4 tools/train.py b --launcher pytorch
$ python tools/test.py c \\
    d.pth
pip install ltcls
```
''')
    assert sorted(commands(page)) == [
        ['list'], ['test', 'c', 'd.pth'], ['train', 'a', '--amp'],
        ['train', 'b', '--launcher', 'pytorch']]


@by_page
def test_every_config_name_in_the_text_exists(page):
    known = {*config_names(), *(Path(name).stem for name in own_files(page))}
    text = page.read_text(encoding='utf-8')
    unknown = sorted(set(CONFIG_NAME.findall(text)) - known)
    assert not unknown, f'no such config: {unknown}'


@by_page
def test_every_make_target_exists(page):
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    targets = set(re.findall(r'^(\w+):', makefile, re.MULTILINE))
    code = [block.code for block in blocks(page) if block.language in SHELLS]
    code += re.findall(r'`(make [^`]+)`', page.read_text(encoding='utf-8'))
    for target in re.findall(r'^make (\w+)', '\n'.join(code), re.MULTILINE):
        assert target in targets


@by_page
def test_every_python_block_compiles(page):
    for block in blocks(page):
        if block.language == 'python':
            compile(block.code, str(page), 'exec')


@by_page
def test_what_is_quoted_from_a_file_is_what_the_file_holds(page):
    for block in blocks(page):
        if block.file and (ROOT / block.file).is_file():
            assert block.body.strip() == (ROOT / block.file).read_text(encoding='utf-8').strip()


@by_page
def test_every_config_on_a_page_loads_with_the_names_it_uses(page, tmp_path):
    configs = [b for b in blocks(page) if b.body.startswith('_base_') and '/' not in b.file]
    for index, block in enumerate(configs):
        (tmp_path / (block.file or f'config{index}.py')).write_text(block.body, encoding='utf-8')
    for path in sorted(tmp_path.iterdir()):
        # The one that needs the example plugin is trained by the tests of plugins.
        if 'Poly1Loss' not in path.read_text(encoding='utf-8'):
            load_config(path, Options())


def test_every_folder_of_configs_is_in_the_index_and_in_the_readme():
    folders = {path.parent.name for path in config_names().values()}
    for page in (ROOT / 'docs' / 'methods.md', ROOT / 'README.md'):
        linked = set(re.findall(r'configs/([a-z0-9_]+)(?:/README\.md)?\)', page.read_text('utf-8')))
        assert linked == folders


def test_the_method_that_is_added_as_an_example_works_as_printed(tmp_path):
    """Its module, its config and its test, together in a process of their own."""
    printed = {Path(b.file).name: b.body for b in blocks(EXAMPLE)
               if b.file and not b.file.startswith('tests/plugin_example')}
    for name in ('poly1.py', 'poly1_resnet20_digits.py', 'test_poly1.py'):
        body = printed[name].replace('ltcls.losses.poly1', 'poly1')
        body = body.replace('../ce/', 'ltcls::ce/')
        (tmp_path / name).write_text(body, encoding='utf-8')
    code = '\n'.join([
        'import poly1, test_poly1',
        'from ltcls.engine.prepare import Options, load_config',
        'tests = [f for name, f in vars(test_poly1).items() if name.startswith("test_")]',
        '[test() for test in tests]',
        'print(len(tests), load_config("poly1_resnet20_digits.py", Options()).model.loss.type)'])
    environment = dict(os.environ, LTCLS_DISABLE_PLUGINS='all', PYTHONPATH=os.pathsep.join(
        [str(tmp_path), str(ROOT)]))
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ['2', 'Poly1Loss'], done.stderr
