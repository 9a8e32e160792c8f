-- Orders, as they come. Those of a product share a partition and so keep their order; some come late.
CREATE STREAM orders (
    order_id TEXT NOT NULL,
    product  TEXT NOT NULL,
    quantity BIGINT NOT NULL,
    price    DECIMAL(12, 3) NOT NULL,
    ts       TIMESTAMP NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '{lateness}' MINUTE
) PARTITION BY product WITH (partitions = 4);

-- What the shop had of each product when it opened.
CREATE TABLE stock (product TEXT PRIMARY KEY, at_first BIGINT NOT NULL);

-- Orders and revenue of each product in each minute, kept up to date as orders come.
CREATE MATERIALIZED VIEW revenue_by_minute AS
    SELECT window_start AS minute, product,
           count(*) AS orders, sum(quantity) AS quantity, sum(quantity * price) AS revenue
    FROM TUMBLE(orders, ts, INTERVAL '1' MINUTE)
    GROUP BY window_start, product;

-- A view over that view.
CREATE MATERIALIZED VIEW revenue_by_product AS
    SELECT product, sum(orders) AS orders, sum(quantity) AS quantity, sum(revenue) AS revenue
    FROM revenue_by_minute GROUP BY product;

-- Joined with the table: what is left.
CREATE MATERIALIZED VIEW stock_left AS
    SELECT stock.product AS product, at_first - sum(quantity) AS quantity
    FROM revenue_by_minute JOIN stock ON revenue_by_minute.product = stock.product
    GROUP BY stock.product, at_first;
