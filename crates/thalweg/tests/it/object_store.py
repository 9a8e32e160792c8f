"""An S3 server on a port that the system picks, with a bucket `sealed`; says where, and serves until its input ends.
Run by object_store.rs."""

import sys
import urllib.request

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/sealed", method="PUT"))
body = b"name,stock\nbolt,7\nnut,9\n"
urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/sealed/files/parts.csv", data=body, headers={"Content-Type": "text/csv"}, method="PUT"))
print(f"ready {host}:{port}", flush=True)
for line in sys.stdin:
    # What is in the bucket, on request.
    listing = urllib.request.urlopen(f"http://{host}:{port}/sealed?list-type=2&prefix={line.strip()}").read().decode()
    print(listing.count("<Key>"), flush=True)
server.stop()
