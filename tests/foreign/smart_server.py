"""A CDR with SMART backend services, which believes no client assertion that joserfc does not.

    smart_server.py PORT DIRECTORY

Makes DIRECTORY/rsa.pem, ec.pem and ec.jwk (the clients' private keys), prints READY, and serves until its standard input
ends. `GET /fhir/metadata` needs a token that it gave out.
"""

import json
import os
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

PORT, DIRECTORY = int(sys.argv[1]), sys.argv[2]
TOKEN_URL = f"http://127.0.0.1:{PORT}/token"
KEYS = {
    "rsa-1": (RSAKey.generate_key(2048, {"kid": "rsa-1"}), "RS384"),
    "ec-1": (ECKey.generate_key("P-384", {"kid": "ec-1"}), "ES384"),
}
USED, TOKENS = set(), set()


def write(name, text):
    with open(os.path.join(DIRECTORY, name), "wb") as file:
        file.write(text)


write("rsa.pem", KEYS["rsa-1"][0].as_pem(private=True))
write("ec.pem", KEYS["ec-1"][0].as_pem(private=True))
write("ec.jwk", json.dumps(KEYS["ec-1"][0].as_dict(private=True)).encode())


def judge(form):
    """None, or what is wrong."""
    if form.get("grant_type") != "client_credentials" or "scope" not in form:
        return "invalid_request"
    if form.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
        return "invalid_request"
    try:
        assertion = form["client_assertion"]
        kid = json.loads(decode(assertion.split(".")[0]))["kid"]
        key, algorithm = KEYS[kid]
        token = jwt.decode(assertion, key, algorithms=[algorithm])
        jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": "me"},
            sub={"essential": True, "value": "me"},
            aud={"essential": True, "value": TOKEN_URL},
            exp={"essential": True},
            jti={"essential": True},
        ).validate(token.claims)
        if token.claims["exp"] > time.time() + 300 or token.claims["jti"] in USED:
            return "invalid_client"
        USED.add(token.claims["jti"])
    except Exception as error:
        print(repr(error), file=sys.stderr, flush=True)
        return "invalid_client"
    return None


def decode(part):
    import base64

    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/fhir/.well-known/smart-configuration":
            return self.answer(200, {"token_endpoint": TOKEN_URL, "capabilities": ["permission-v2"]})
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in TOKENS:
            return self.answer(401, {})
        if self.path == "/fhir/metadata":
            software = {"name": "A SMART CDR"}
            return self.answer(200, {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "software": software})
        return self.answer(200, {"resourceType": "Bundle", "type": "searchset"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        wrong = judge(dict(urllib.parse.parse_qsl(body)))
        if wrong:
            return self.answer(400, {"error": wrong})
        token = f"token-{len(TOKENS)}"
        TOKENS.add(token)
        return self.answer(200, {"access_token": token, "token_type": "bearer", "expires_in": 300})


server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("READY", flush=True)
sys.stdin.read()
