"""The branch board: a page of Airflow's user interface that shows how one night went in all branches.

`night` asks the warehouse, `app` answers the browser. Airflow finds it through plugins/branch_board.py.
"""
