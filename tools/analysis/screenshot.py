"""A picture of a report, as a browser shows it.

    python tools/analysis/screenshot.py report.html docs/images/report.png --height 1650
    python tools/analysis/screenshot.py report.html phone.png --width 390 --dark

Needs playwright (pip install playwright) and Chromium or Chrome. The picture shows the page from
its top to --height, or all of it.
"""

import argparse
import shutil
from pathlib import Path

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('page', type=Path)
    arguments.add_argument('picture', type=Path)
    arguments.add_argument('--width', type=int, default=1200)
    arguments.add_argument('--height', type=int, help='all of the page otherwise')
    arguments.add_argument('--from', dest='section', help='begin at this section, e.g. flatness')
    arguments.add_argument('--dark', action='store_true')
    options = arguments.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        arguments.error(f"no browser is installed, none of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser, args=['--no-sandbox'])
        page = opened.new_page(viewport=dict(width=options.width, height=900),
                               color_scheme='dark' if options.dark else 'light')
        page.goto(options.page.resolve().as_uri())
        whole = page.evaluate('document.body.scrollHeight')
        top = 0
        if options.section:
            top = page.evaluate('name => document.getElementById(name).offsetTop', options.section)
        height = min(options.height or whole, whole - top)
        options.picture.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=options.picture, full_page=True,
                        clip=dict(x=0, y=top, width=options.width, height=height))
        opened.close()
    print(f'{options.picture}, {options.width} x {height}')


if __name__ == '__main__':
    main()
