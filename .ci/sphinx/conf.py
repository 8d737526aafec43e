project = "Barker"
master_doc = "index"
html_theme = "alabaster"
exclude_patterns = ["_build"]
