"""The lab: one page from which people start runs, watch and compare them, talk to models and promote one: `make lab`.

`__main__.py` starts what is not up yet, `server.py` serves Streamlit's pages, `app.py` lists them. `page/` draws what
`read/` has read. Nothing is kept here: runs are Prefect's, results are DVC's, versions are MLflow's, and what a page
shows is in its address. Read `app.py` first.
"""
