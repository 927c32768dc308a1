"""Checks deploy/monitoring: the links of the alerts, the shape of the dashboard, and each query on a Prometheus that scrapes a worker."""

import json
import math
import re
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

root, prometheus, worker, folder = sys.argv[1:]
problems = []


def must(holds, problem):
    if not holds:
        problems.append(problem)


# --- alerts ---

alerts = open(f"{root}/deploy/monitoring/alerts.yaml").read()
tests = open(f"{root}/deploy/monitoring/alerts.test.yaml").read()
headings = re.findall(r"^#+ (.*)$", open(f"{root}/deploy/runbook.md").read(), re.M)
anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
names = re.findall(r"alert: (\w+)", alerts)
links = re.findall(r"runbook_url: deploy/runbook\.md#(\S+)", alerts)
must(names and len(names) == len(links), "an alert without runbook_url")
for link in links:
    must(link in anchors, f"alert: deploy/runbook.md has no heading for #{link}")
for name in names:
    must(re.search(rf"alertname: {name}\n +exp_alerts: \[\{{", tests), f"{name}: no test in which it fires")
    must(re.search(rf"alertname: {name}, exp_alerts: \[\]", tests), f"{name}: no test in which it stays quiet")

# --- dashboard ---

dashboard = json.load(open(f"{root}/deploy/monitoring/dashboard.json"))
queries = []
taken = {}
for panel in dashboard["panels"]:
    title = panel["title"]
    must(title and panel["description"], f"panel {panel['id']}: no title or description")
    must(panel["fieldConfig"]["defaults"].get("unit"), f"{title}: no unit")
    place = panel["gridPos"]
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            must((x, y) not in taken and x < 24, f"{title}: lies on {taken.get((x, y))}")
            taken[x, y] = title
    for target in panel["targets"]:
        query = target["expr"]
        must(panel["datasource"]["uid"] == target["datasource"]["uid"] == "${datasource}", f"{title}: a data source of its own")
        must(all("$__rate_interval" in part for part in re.findall(r"(?:rate|increase)\(.*?\]\)", query)), f"{title}: another interval than $__rate_interval")
        for metric in re.findall(r"snapshot_lifecycle_(?:queue|dead_letter_queue|wait_queue|expired|oldest|outbox_pending|outbox_oldest|last_pass|up)\w*", query):
            must(not re.search(rf"sum[^(]*\({metric}", query), f"{title}: sums {metric}, which every replica reports for the fleet")
        queries.append((title, query))
served = urllib.request.urlopen(f"http://{worker}/metrics", timeout=5).read().decode()
families = set(re.findall(r"^# TYPE (\S+)", served, re.M))
shown = {re.sub(r"_(bucket|sum|count)$", "", name) for _, query in queries for name in re.findall(r"snapshot_lifecycle_\w+", query)}
must(shown == families, f"the dashboard does not show what the worker serves: {sorted(families ^ shown)}")

# --- each query, on a Prometheus ---

with socket.socket() as port:
    port.bind(("127.0.0.1", 0))
    address = "127.0.0.1:%d" % port.getsockname()[1]
with open(f"{folder}/prometheus.yml", "w") as file:
    scrape = {"job_name": "w", "scrape_interval": "500ms", "static_configs": [{"targets": [worker]}]}
    json.dump({"scrape_configs": [scrape], "rule_files": [f"{root}/deploy/monitoring/alerts.yaml"]}, file)
with open(f"{folder}/prometheus.log", "w") as log:
    command = [prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
    server = subprocess.Popen(command, stdout=log, stderr=log)


def answer(query):
    query = query.replace("$__rate_interval", "15s").replace("$namespace", ".*").replace("$job", ".*")
    url = f"http://{address}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        return json.load(urllib.request.urlopen(url, timeout=5))["data"]["result"]
    except (OSError, urllib.error.HTTPError) as error:
        return str(error)


def has_data(results):
    return isinstance(results, list) and results and any(not math.isnan(float(result["value"][1])) for result in results)


try:
    waiting, deadline = queries, time.time() + 60
    while waiting and time.time() < deadline:
        time.sleep(1)
        waiting = [(title, query) for title, query in waiting if not has_data(answer(query))]
    for title, query in waiting:
        must(False, f"{title}: no data from {query}: {answer(query)}")
finally:
    server.terminate()
sys.exit("\n".join(f"monitoring: {problem}" for problem in problems) or 0)
