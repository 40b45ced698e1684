"""A foreign client judges the sandbox: botocore signs, http.client sends, boto3 speaks to STS.

usage: botocore_sign.py ENDPOINT REGION ACCESS_KEY_ID SECRET_ACCESS_KEY
Exit: 0 all as expected, 1 not, 77 botocore or boto3 cannot be imported.
"""

import http.client
import json
import sys
from urllib.parse import quote, urlsplit

try:
    import boto3
    import botocore.exceptions
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.config import Config
    from botocore.credentials import Credentials
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

endpoint, region, key_id, secret = sys.argv[1:]
netloc = urlsplit(endpoint).netloc
base = Credentials(key_id, secret)
JSON = {"Content-Type": "application/fhir+json"}


def signed(method, url, body=b"", credentials=base, headers=None):
    request = AWSRequest(method=method, url=url, data=body, headers=dict(headers or {}))
    SigV4Auth(credentials, "healthlake", region).add_auth(request)
    return dict(request.headers.items())


def send(method, url, headers, body=b""):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body or None, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def call(method, below, body=b"", credentials=base, headers=None, url=None):
    url = url or endpoint + below
    return send(method, url, signed(method, url, body, credentials, headers), body)


def expect(what, got, wanted):
    if got != wanted:
        print(f"FAILED {what}: {got!r}, expected {wanted!r}")
        sys.exit(1)
    print(f"ok {what}")


def patient(identifier):
    return json.dumps({"resourceType": "Patient", "id": identifier, "name": [{"family": "Ægir"}]}).encode()


# What is signed rightly passes.
status, headers, text = call("PUT", "/Patient/foreign-1", patient("foreign-1"), headers=JSON)
expect("PUT", (status, headers.get("etag") or headers.get("ETag")), (201, 'W/"1"'))
status, _, text = call("GET", "/Patient/foreign-1")
expect("GET", (status, json.loads(text)["name"][0]["family"]), (200, "Ægir"))
expect("GET, path encoded on the wire", call("GET", "/Patient/foreign%2D1")[0], 200)
expect("GET, doubled slash", call("GET", "//Patient//foreign-1")[0], 200)
for number in range(2, 5):
    identifier = f"foreign-{number}"
    expect(f"PUT {number}", call("PUT", f"/Patient/{identifier}", patient(identifier), headers=JSON)[0], 201)
expect("If-Match", call("PUT", "/Patient/foreign-1", patient("foreign-1"), headers={"If-Match": 'W/"9"'})[0], 412)

# Pages: the token's raw characters are to be encoded before signing.
seen, url = [], endpoint + "/Patient?_count=3&_sort=_id&_lastUpdated=" + quote("ge2020-01-01T00:00:00+02:00", safe="")
while url:
    status, _, text = call("GET", None, url=url)
    expect("search", status, 200)
    bundle = json.loads(text)
    seen += [entry["resource"]["id"] for entry in bundle["entry"]]
    raw = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    if raw:
        before, token = raw.split("page=")
        expect("the token is raw", all(character in token for character in "=/+"), True)
        expect("the token signed raw", call("GET", None, url=raw)[0], 403)
        url = before + "page=" + quote(token, safe="")
    else:
        url = None
expect("pages", seen, [f"foreign-{number}" for number in range(1, 5)])
form = {"Content-Type": "application/x-www-form-urlencoded"}
status, _, text = call("POST", "/Patient/_search", b"_id=foreign-2", headers=form)
expect("POST _search", [entry["resource"]["id"] for entry in json.loads(text)["entry"]], ["foreign-2"])
expect("DELETE", call("DELETE", "/Patient/foreign-4")[0], 204)
expect("GET of the deleted", call("GET", "/Patient/foreign-4")[0], 410)

# What was changed after signing does not.
url, body = endpoint + "/Patient/foreign-1", patient("foreign-1")
headers = signed("PUT", url, body, headers=JSON | {"X-Amz-Meta": "a"})
expect("changed body", send("PUT", url, headers, body.replace(b"foreign-1", b"foreign-2"))[0], 403)
expect("changed path", send("PUT", endpoint + "/Patient/foreign-2", headers, body)[0], 403)
expect("added query", send("PUT", url + "?a=b", headers, body)[0], 403)
expect("changed method", send("POST", url, headers, body)[0], 403)
expect("changed header", send("PUT", url, headers | {"X-Amz-Meta": "b"}, body)[0], 403)
expect("changed content type", send("PUT", url, headers | {"Content-Type": "text/plain"}, body)[0], 403)
expect("changed date", send("PUT", url, headers | {"X-Amz-Date": "20150830T123600Z"}, body)[0], 403)
expect("added amz header", send("PUT", url, headers | {"X-Amz-Added": "1"}, body)[0], 403)
expect("unsigned", send("PUT", url, JSON, body)[0], 401)
expect("unchanged", send("PUT", url, headers, body)[0], 200)
expect("wrong secret", call("GET", "/Patient/foreign-1", credentials=Credentials(key_id, "wrong"))[0], 403)
expect("unknown key", call("GET", "/Patient/foreign-1", credentials=Credentials("AKIANOBODY", secret))[0], 403)

# STS as boto3 speaks to it.
quiet = Config(retries={"max_attempts": 1}, proxies={})


def sts(access_key_id, secret_access_key, token=None):
    return boto3.client(
        "sts", endpoint_url=f"http://{netloc}", region_name=region, config=quiet,
        aws_access_key_id=access_key_id, aws_secret_access_key=secret_access_key, aws_session_token=token,
    )


def refused(what, code, action):
    try:
        action()
    except botocore.exceptions.ClientError as error:
        expect(what, error.response["Error"]["Code"], code)
    else:
        expect(what, "passed", code)


client = sts(key_id, secret)
expect("GetCallerIdentity", client.get_caller_identity()["Arn"].endswith(":user/sandbox"), True)
role = "arn:aws:iam::444455556666:role/writer"
issued = client.assume_role(RoleArn=role, RoleSessionName="foreign+client", DurationSeconds=900)["Credentials"]
session = (issued["AccessKeyId"], issued["SecretAccessKey"], issued["SessionToken"])
identity = sts(*session).get_caller_identity()
expect("session's identity", identity["Arn"], "arn:aws:sts::444455556666:assumed-role/writer/foreign+client")
expect("session", call("GET", "/Patient/foreign-1", credentials=Credentials(*session))[0], 200)
expect("no token", call("GET", "/Patient/foreign-1", credentials=Credentials(*session[:2]))[0], 403)
other = Credentials(session[0], session[1], session[2] + "x")
expect("other token", call("GET", "/Patient/foreign-1", credentials=other)[0], 403)
refused("STS, wrong secret", "SignatureDoesNotMatch", sts(key_id, "wrong").get_caller_identity)
refused("STS, unknown key", "InvalidClientTokenId", sts("AKIANOBODY0000000000", secret).get_caller_identity)
refused(
    "STS, no role", "ValidationError",
    lambda: client.assume_role(RoleArn="arn:aws:iam::444455556666:user/x", RoleSessionName="foreign"),
)
print("all as expected")
