"""Serving: takes HTTP requests in OpenAI's form, gives text of the champion, and follows the alias without a pause.

Read `worker.py` first: a thread computes, and requests join and leave between its steps. `app.py` has the routes,
`requests.py` what they take, `answers.py` what they give. `follow.py` brings in a new champion. It knows no Prefect and
no DVC.
"""
