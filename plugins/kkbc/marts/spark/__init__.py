"""The second engine: the marts made by Spark, from what was loaded, and brought to where the gate looks at them."""
