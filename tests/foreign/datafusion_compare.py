"""Runs the SQL of docs/scale.md over two files of digests: datafusion_compare.py SCALE.md CDR.json HEALTHLAKE.json"""

import re
import sys

from datafusion import SessionContext

page, cdr, healthlake = sys.argv[1:]
query = re.search(r"<!-- the query -->\n+```sql\n(.*?)```", open(page).read(), re.S).group(1)
context = SessionContext()
context.register_json("cdr", cdr)
context.register_json("healthlake", healthlake)
for batch in context.sql(query).collect():
    for row in batch.to_pylist():
        print(row["key"], row["kind"])
