"""Clicks through the SQL console of the dashboard in headless Chromium, over its own debugging protocol. Arguments: the
browser, the dashboard's address, a folder for its profile."""

import json
import re
import subprocess
import sys
import time
import urllib.request

import websocket

browser, dashboard, folder = sys.argv[1:4]
process = subprocess.Popen(
    [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0",
     "--remote-allow-origins=*", f"--user-data-dir={folder}", "--window-size=1280,2400", dashboard],
    stderr=subprocess.PIPE, text=True,
)


class Page:
    """The tab that shows the dashboard."""

    def __init__(self, port):
        deadline = time.time() + 30
        while True:
            tabs = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
            pages = [tab for tab in tabs if tab["type"] == "page"]
            if pages:
                break
            assert time.time() < deadline, tabs
            time.sleep(0.1)
        self.socket = websocket.create_connection(pages[0]["webSocketDebuggerUrl"], timeout=60)
        self.number = 0

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]

    def look(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression):
        deadline = time.time() + 30
        while not (found := self.look(expression)):
            assert time.time() < deadline, (expression, self.look("document.body.innerText"))
            time.sleep(0.05)
        return found

    def click(self, selector):
        """As a mouse does it, where the element is."""
        box = json.loads(self.look(
            f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
            f" const b = e.getBoundingClientRect(); return JSON.stringify([b.x + b.width / 2, b.y + b.height / 2]) }})()"
        ))
        for kind in ["mousePressed", "mouseReleased"]:
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, selector, text):
        self.click(selector)
        self.look(f"document.querySelector({selector!r}).select()")
        self.call("Input.insertText", text=text)


def port_of(process):
    for line in process.stderr:
        if found := re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line):
            return int(found.group(1))
    raise SystemExit(f"{browser} did not start")


try:
    page = Page(port_of(process))
    page.wait("document.querySelector('#status')?.textContent.startsWith('running')")
    rows = "[...document.querySelectorAll('#sql-rows tr')].map(r => [...r.children].map(c => c.textContent).join('|')).join(';')"

    # A view that changes while we look.
    page.wait("document.querySelector('#views')?.innerText.includes('totals')")
    page.wait("document.querySelector('#declared')?.innerText.includes('clicks')")

    page.type("#sql", "SELECT page, c FROM totals ORDER BY page")
    page.click("#run")
    assert page.wait(rows) == "/|2;/cart|1", page.look(rows)
    assert page.look("document.querySelector('#sql-head').innerText").split() == ["page", "c"]

    page.type("#sql", "INSERT INTO clicks VALUES ('/cart'), ('/<b>pay</b>')")
    page.click("#run")
    page.wait(f"{rows} === 'INSERT 0 2'")

    page.type("#sql", "SELECT page, c FROM totals ORDER BY page")
    deadline = time.time() + 30
    while page.look(rows) != "/|2;/<b>pay</b>|1;/cart|2":
        assert time.time() < deadline, page.look(rows)
        page.click("#run")
        page.wait("!document.querySelector('#run').disabled")

    page.type("#sql", "SELECT * FROM nowhere")
    page.click("#run")
    page.wait("document.querySelector('#sql-note').className.includes('bad')")
    assert "42P01" in page.look("document.querySelector('#sql-note').textContent")
    print("ok")
finally:
    process.kill()
    process.wait()
