"""`ltcls report`: what stands on the page, and the page in a browser."""

import json
import os
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'analysis'))
from finished_run import make_run  # noqa: E402

from ltcls.analysis import plots  # noqa: E402
from ltcls.analysis.charts import Chart, Scale, ends  # noqa: E402
from ltcls.analysis.report import build_report, write_report  # noqa: E402
from ltcls.analysis.report_course import _duration, _machine, flat_config  # noqa: E402
from ltcls.analysis.report_measured import _fluctuation, _plane  # noqa: E402
from ltcls.analysis.report_results import _exchange  # noqa: E402
from ltcls.analysis.runs import open_runs  # noqa: E402
from ltcls.cli import main  # noqa: E402
from ltcls.commands.arguments import report  # noqa: E402

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')


class Tables(HTMLParser):
    """Every table as rows of texts, by its label; and the names of all sections."""

    def __init__(self, page):
        super().__init__()
        self.tables, self.sections, self.links = {}, [], []
        self.rows = self.text = None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == 'section':
            self.sections.append(attributes['id'])
        if tag == 'table':
            self.rows = self.tables[attributes['aria-label']] = []
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.text = ''
        self.links += [value for name, value in attributes.items() if name in ('src', 'href')]

    def handle_data(self, data):
        if self.text is not None:
            self.text += data

    def handle_endtag(self, tag):
        if tag in ('td', 'th'):
            self.rows[-1].append(self.text)
            self.text = None


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp('runs')
    return [make_run(place / 'ce', noise=2.0), make_run(place / 'gcl', 'gcl', noise=1.0)]


@pytest.fixture(scope='module')
def comparison(folders, tmp_path_factory):
    path = tmp_path_factory.mktemp('report') / 'new' / 'report.html'
    assert main(['report', *map(str, folders), '-o', str(path), '--title', 'CE & GCL']) == 0
    return path


def test_the_tables_hold_the_numbers_of_the_records(folders, comparison):
    page = Tables(comparison.read_text(encoding='utf-8'))
    records = [run.record for run in open_runs(folders)]
    head, *rows = page.tables['results']
    for row, record in zip(rows, records):
        shown = dict(zip(head, row))
        assert shown['run'] == record['method']
        assert shown['overall'] == f"{record['overall']['accuracy']:.2f}"
        assert shown['few'] == f"{record['groups']['few']['accuracy']:.2f}"
        assert shown['ECE'] == f"{record['calibration']['overall']['ece']:.2f}"
    head, *rows = page.tables['accuracy of each class']
    assert [row[0] for row in rows] == list('0123456789')
    assert [row[3:] for row in rows] == [
        [f"{record['per_class'][c]['accuracy']:.1f}" for record in records] for c in range(10)]
    assert [row[2] for row in rows] == [str(row['train_count']) for row in records[0]['per_class']]


def test_the_most_frequent_mistakes_are_shares_of_the_class(folders, comparison):
    records = [run.record for run in open_runs(folders)]
    rows = Tables(comparison.read_text(encoding='utf-8')).tables['most frequent mistakes'][1:]
    for truth, guess, *shares in rows:
        expected = [2 * record['confusion'][int(truth)][int(guess)] for record in records]
        assert shares == [f'{share:.1f}' for share in expected]     # 50 test images a class
    worst = max(2 * n for record in records for c, counts in enumerate(record['confusion'])
                for guess, n in enumerate(counts) if guess != c)
    assert max(map(float, rows[0][2:])) == worst


def test_only_keys_that_differ_are_listed(comparison):
    rows = Tables(comparison.read_text(encoding='utf-8')).tables['differences of the configs']
    found = {key: values for key, *values in rows[1:]}
    assert found['model.head.type'] == ['LinearHead', 'CosineHead']
    assert found['model.head.scale'] == ['∅', '30']
    assert 'model.backbone.type' not in found
    assert flat_config(dict(a=dict(b=[1, 2], c=[dict(d='x')]), e={})) == {
        'a.b': '[1, 2]', 'a.c[0].d': 'x', 'e': '{}'}


def test_the_page_needs_nothing_but_itself(comparison):
    text = comparison.read_text(encoding='utf-8')
    page = Tables(text)
    assert '<title>CE &amp; GCL</title>' in text
    assert [link.removeprefix('#') for link in page.links] == page.sections
    assert not re.search(r'https?:|@import|url\(', text)


def test_one_run_has_a_page_of_its_own(folders):
    run, = open_runs(folders[:1])
    text = build_report([run])
    page = Tables(text)
    assert page.sections == ['results', 'data', 'classes', 'curves', 'confusion', 'calibration',
                             'config', 'cost', 'made']
    assert f"<b>{run.record['overall']['accuracy']:.1f}%</b>" in text
    assert page.tables['cost'][1][2:6] == ['1 min 00 s', '1 min 01 s', '300', '0.08 M']


def test_several_seeds_are_summed_up(folders):
    run, = open_runs(folders[:1])
    again = run._replace(record=dict(run.record, seed=1, overall=dict(
        run.record['overall'], accuracy=run.record['overall']['accuracy'] + 2)))
    rows = Tables(build_report([run, again])).tables['results over seeds']
    middle = run.record['overall']['accuracy'] + 1
    assert rows[1][:3] == ['ce', '2', f'{middle:.2f} ± {2 ** 0.5:.2f}']


def test_what_was_analysed_is_shown(folders, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(folders[0], folder)
    assert main(['analyze', 'flatness', str(folder), '--probes', 'random', 'line', '--line', '3',
                 '--draws', '1', '--images-per-class', '1', '--noise', 'filter:0.1']) == 0
    assert main(['analyze', 'features', str(folder), '--images-per-class', '2', '--no-tsne']) == 0
    run, = open_runs([folder])
    page = Tables(build_report([run]))
    assert {'features', 'flatness'} < set(page.sections)
    found = json.loads((folder / 'flatness.json').read_text())
    rise = found['random']['noises'][0]['parts']['overall']['rise']
    assert page.tables['flatness'][1][1:] == [
        'overall', f"{found['random']['noises'][0]['parts']['overall']['loss']:.3g}", f'{rise:.3g}']


def test_names_in_the_data_cannot_break_the_page(folders):
    run, = open_runs(folders[:1])
    rows = [dict(row, name=f'<script>{row["name"]}') for row in run.record['per_class']]
    text = build_report([run._replace(record=dict(run.record, per_class=rows))])
    assert text.count('<script>') == 1


def test_a_name_that_is_no_utf8_has_a_page(folders, tmp_path):
    run, = open_runs(folders[:1])
    rows = [dict(row, name=os.fsdecode(b'caf\xe9')) for row in run.record['per_class']]
    path = write_report([run._replace(record=dict(run.record, per_class=rows))],
                        tmp_path / 'page.html')
    assert 'caf?' in path.read_text(encoding='utf-8')


def test_pictures_that_cannot_be_drawn_do_not_end_a_recipe(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plots, 'plot_reliability', lambda record: 1 / 0)
    report(open_runs(folders[:1])[0].record, tmp_path, [])
    assert 'warning: its pictures could not be drawn: ZeroDivisionError' in capsys.readouterr().out


def test_the_best_of_every_column_is_bold_and_of_errors_it_is_the_least(folders, comparison):
    records = [run.record for run in open_runs(folders)]
    accuracies = sorted(record['overall']['accuracy'] for record in records)
    errors = sorted(record['calibration']['overall']['ece'] for record in records)
    bold = re.findall(r'<td class="[^"]*best[^"]*"[^>]*>([^<]+)<',
                      comparison.read_text(encoding='utf-8'))
    # The error stands in two tables.
    assert bold.count(f'{accuracies[1]:.2f}') >= 1 and bold.count(f'{errors[0]:.2f}') >= 2
    assert f'{errors[1]:.2f}' not in bold


def test_times_and_machines_are_put_into_words():
    assert [_duration(seconds).html for seconds in (None, 61.4, 3725)] == [
        '–', '1 min 01 s', '1 h 02 min']
    assert _machine(dict(gpu='H200', gpus=2, cpu='x')) == '2 x H200'
    assert _machine(dict(cpu='x', threads=2)) == 'x, 2 threads'


def test_the_first_direction_of_a_surface_runs_to_the_right():
    losses = [float(k) for k in range(9)]      # the last coordinate is the fastest
    text = _plane(dict(plane=dict(steps=[-1, 0, 1], parts=dict(overall=dict(losses=losses)))))
    places = {float(tip): (float(x), float(y)) for x, y, tip in re.findall(
        r'<rect x="([\d.]+)" y="([\d.]+)"[^>]*><title>loss ([\d.]+)</title>', text)}
    assert places[6.0][0] > places[0.0][0] and places[6.0][1] == places[0.0][1]
    assert places[2.0][1] < places[0.0][1] and places[2.0][0] == places[0.0][0]


def test_dots_show_the_rise_over_the_trained_weights_and_each_axis_its_group(folders):
    row = dict(loss=2.0, losses=[2.5, 'inf'])
    assert 'overall: +0.5<' in _fluctuation([(0, 'ce', dict(parts=dict(overall=row)))], False)
    records = [run.record for run in open_runs(folders)]
    many, few = (records[0]['groups'][name]['accuracy'] for name in ('many', 'few'))
    assert f'ce: many {many:.2f}%, few {few:.2f}%' in _exchange(records, ['ce', 'gcl'], 'many',
                                                                'few')


def test_a_scale_puts_values_where_they_belong():
    scale = Scale(0, 50, 100, 200)
    assert (scale.at(0), scale.at(25), scale.at(60)) == (100, 150, 200)
    assert scale.ticks() == [0, 10, 20, 30, 40, 50]
    logs = Scale(1, 1000, 0, 300, log=True)
    assert logs.at(10) == 100
    assert logs.ticks() == [1, 10, 100, 1000]
    assert Scale(2, 2, 0, 10).ticks() == [2]
    assert Scale(3, 12, 0, 10, log=True).ticks() == [3, 4, 5, 6, 7, 8, 9, 10]
    assert Scale(3, 60, 0, 10, log=True).ticks() == [5, 10, 20, 50]
    assert ends([None, 1.0, 3.0], margin=0.5) == (0, 4)
    assert ends([2.0, 4.0], zero=True)[0] == 0
    assert ends([]) == (0, 1)
    chart = Chart(200, 100, (0, 10), (0, 1), 'x', margins=(0, 0, 0, 0))
    chart.dot(5, 1, 'red', tip='a < b')
    assert '<circle cx="100.0" cy="0.0"' in chart.svg()
    assert '<title>a &lt; b</title>' in chart.svg()


# -- in a browser -------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def browser():
    playwright = pytest.importorskip(
        'playwright.sync_api', reason='playwright is not installed: pip install playwright')
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip('no browser is installed: apt install chromium')
    with playwright.sync_playwright() as driver:
        # A container has no user namespaces for the sandbox; the page is our own.
        opened = driver.chromium.launch(executable_path=path, timeout=120_000,
                                        args=['--no-sandbox', '--disable-gpu'])
        yield opened
        opened.close()


def test_a_click_on_a_title_sorts_and_the_page_fits_a_phone_and_the_dark(browser, comparison):
    problems = []
    page = browser.new_page(viewport=dict(width=390, height=844), color_scheme='dark')
    page.set_default_timeout(60_000)
    page.on('pageerror', lambda error: problems.append(str(error)))
    page.on('console', lambda line: problems.append(line.text) if line.type == 'error' else None)
    page.goto(comparison.as_uri())
    table = page.get_by_role('table', name='accuracy of each class')

    def column(place):
        return table.locator(f'tbody td:nth-child({place})').all_text_contents()

    before = column(4)
    title = table.get_by_role('button', name='ce')
    title.click()
    assert [float(v) for v in column(4)] == sorted(map(float, before), reverse=True)
    title.click()
    assert [float(v) for v in column(4)] == sorted(map(float, before))
    assert table.locator('th[aria-sort=ascending]').all_text_contents() == ['ce']
    table.get_by_role('button', name='class').click()
    assert column(1) == list('0123456789')
    assert column(4) == before

    assert page.evaluate('document.documentElement.scrollWidth') == 390
    colour = 'getComputedStyle(document.body).backgroundColor'
    assert page.evaluate(colour) == 'rgb(21, 23, 26)'
    page.get_by_role('button', name='light / dark').click()
    assert page.evaluate(colour) == 'rgb(251, 251, 250)'
    page.emulate_media(media='print', color_scheme='dark')
    assert page.evaluate(colour) == 'rgb(255, 255, 255)'
    assert not page.get_by_role('navigation').is_visible()
    page.emulate_media(media='screen')
    picture = page.screenshot()
    folder = os.environ.get('LTCLS_SCREENSHOTS')      # to look at them
    if folder:
        Path(folder, 'report.png').write_bytes(picture)
    assert picture.startswith(b'\x89PNG')
    assert len(picture) > 10_000
    assert not problems
    page.close()
