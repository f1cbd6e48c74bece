"""`ingress`: nginx with the default log format of ingress-nginx, sent by syslog to the collector.

The frontends are addressed as ingress-nginx does it: by pod address, with kept connections, and
`proxy_next_upstream` at its default. A second log in the lab's own format goes to the truth file.
"""

import os
from pathlib import Path

from . import contract

LOG_FORMAT = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" '
    '"$http_user_agent" $request_length $request_time [$proxy_upstream_name] '
    "[$proxy_alternative_upstream_name] $upstream_addr $upstream_response_length "
    "$upstream_response_time $upstream_status $req_id"
)

TRUTH_FORMAT = (
    '{"kind":"proxy","pod":"ingress-0","call":"$http_x_lab_call","request_id":"$req_id",'
    '"local":"$server_addr:$server_port","remote":"$remote_addr:$remote_port",'
    '"attempts":"$upstream_addr","attempt_status":"$upstream_status","status":"$status",'
    '"end_s":"$msec"}'
)


def configuration(folder: str, frontends: list[str], syslog: str, truth: str, pass_id: bool) -> str:
    servers = "\n".join(f"    server {address} max_fails=0;" for address in frontends)
    request_id = "$req_id" if pass_id else '""'
    return f"""
daemon off;
worker_processes 1;
user root;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $http_x_request_id $req_id {{
    default $http_x_request_id;
    "" $request_id;
  }}
  log_format upstreaminfo '{LOG_FORMAT}';
  log_format truth escape=json '{TRUTH_FORMAT}';
  access_log syslog:server={syslog},nohostname,tag=ingress upstreaminfo;
  access_log {truth} truth;
  upstream frontends {{
{servers}
    keepalive 320;
  }}
  server {{
    listen {contract.INGRESS_PORT};
    set $proxy_upstream_name "shop-frontend-80";
    set $proxy_alternative_upstream_name "";
    location / {{
      proxy_pass http://frontends;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Request-ID {request_id};
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Lab-Call "$http_x_lab_call/0";
      proxy_read_timeout 60s;
    }}
  }}
}}
"""


def main() -> None:
    folder = os.environ[contract.FOLDER]
    text = configuration(
        folder,
        os.environ[contract.FRONTENDS].split(","),
        os.environ[contract.SYSLOG],
        os.environ[contract.TRUTH_FILE],
        bool(os.environ.get(contract.PASS_REQUEST_ID)),
    )
    path = Path(folder, "nginx.conf")
    path.write_text(text)
    os.execvp("nginx", ["nginx", "-p", folder, "-c", str(path)])


if __name__ == "__main__":
    main()
