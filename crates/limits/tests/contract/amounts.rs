//! Sets of windows over two amounts: tokens per day and images per six hours, side by side.

use super::{
    DAY, Reason, T0, WINDOWS_WITH_IMAGES, admit_denied, admit_granted, allow, fixed_history, stores, unique_name,
};
use limits::{Admission, Demand, End, Limits, PastCall, Store, Windows};

/// Runs a test against each kind of store.
async fn for_each_store<F: AsyncFn(Limits<[u64; 2]>)>(test: F) {
    for store in stores() {
        test(Limits::without_history(&store, "user", &WINDOWS_WITH_IMAGES)).await;
    }
}

#[tokio::test]
async fn amounts_are_reserved_and_settled_separately() {
    for_each_store(async |limits| {
        let (ann, plan) = (unique_name("ann"), allow(&[100, 1_000, 3], 10));
        let demand = Demand { input: [100, 1], output_min: [50, 0], output_max: [4_000, 1] };
        let permit = admit_granted(&limits, T0, &ann, plan, demand).await;
        assert_eq!(
            (permit.output(), permit.reserved()),
            ([900, 1], [1_000, 2]),
            "each output is capped by its own limit"
        );
        assert!(limits.at(T0).confirm(&permit).await.unwrap());
        let snapshot = limits.at(T0 + 60_000).settle(permit, [150, 1]).await.unwrap();
        let usage = |index| (snapshot.window(index).used, snapshot.window(index).reserved);
        assert_eq!((usage(0), usage(1), usage(2)), ((1, 0), (150, 0), (1, 0)));
        // a released reservation is refunded in both windows
        let permit = admit_granted(&limits, T0, &ann, plan, Demand::exactly([850, 2])).await;
        let snapshot = limits.at(T0).release(permit).await.unwrap();
        assert_eq!((snapshot.window(1).reserved, snapshot.window(2).reserved, snapshot.in_flight), (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn each_amount_refuses_alone_and_has_its_own_retry_time() {
    for_each_store(async |limits| {
        let (ann, plan) = (unique_name("ann"), allow(&[100, 1_000, 3], 10));
        let permit = admit_granted(&limits, T0, &ann, plan, Demand::exactly([400, 3])).await;
        let demand = Demand::exactly([100, 1]);
        let denial = admit_denied(&limits, T0, &ann, plan, demand).await;
        assert_eq!((denial.reason, denial.fits_ms), (Reason::Window(2), vec![Some(0), Some(0), None]));
        limits.at(T0).settle(permit, [400, 3]).await.unwrap();
        // images leave after six hours, tokens after a day
        let denial = admit_denied(&limits, T0, &ann, plan, demand).await;
        assert!((DAY / 4..=DAY / 4 + 600_000).contains(&denial.retry_after_ms), "{denial:?}");
        assert_eq!(denial.fits_ms, [Some(0), Some(0), Some(denial.retry_after_ms)]);
        let at = T0 + denial.retry_after_ms;
        admit_denied(&limits, at - 1, &ann, plan, demand).await;
        let _permit = admit_granted(&limits, at, &ann, plan, demand).await;
        let denial = admit_denied(&limits, at, &ann, plan, Demand::exactly([501, 1])).await;
        assert_eq!((denial.reason, denial.fits_ms[2]), (Reason::Window(1), Some(0)));
        // a demand that can never fit names the largest input per window
        let demand = Demand { input: [10, 4], output_min: [200, 0], output_max: [200, 0] };
        let admission = limits.at(at).admit(&ann, &unique_name("call"), plan, demand).await.unwrap();
        assert!(matches!(admission, Admission::TooLarge { max: [800, 3] }), "{admission:?}");
    })
    .await;
}

#[tokio::test]
async fn lapsed_holds_free_all_amounts_and_can_still_be_settled() {
    for_each_store(async |limits| {
        let (ann, plan) = (unique_name("ann"), allow(&[100, 1_000, 3], 10));
        let lapsed = admit_granted(&limits, T0, &ann, plan, Demand::exactly([400, 2])).await;
        let confirmed = admit_granted(&limits, T0, &ann, plan, Demand::exactly([100, 1])).await;
        assert!(limits.at(T0).confirm(&confirmed).await.unwrap());
        let snapshot = limits.at(T0 + 10_000).peek(&ann).await.unwrap();
        assert_eq!((snapshot.window(1).reserved, snapshot.window(2).reserved), (100, 1));
        let snapshot = limits.at(T0 + 20_000).settle(lapsed, [300, 2]).await.unwrap();
        assert_eq!((snapshot.window(1).used, snapshot.window(2).used), (300, 2));
        assert_eq!((snapshot.window(1).reserved, snapshot.window(2).reserved), (100, 1));
    })
    .await;
}

#[tokio::test]
async fn cold_meters_are_rebuilt_with_all_amounts() {
    for store in stores() {
        let ann = unique_name("ann");
        let call = |name: &str, at_ms, amount, running| PastCall { call: name.to_owned(), at_ms, amount, running };
        let past = vec![
            call("morning", T0 - DAY / 2, [300, 9], false),
            call("running", T0 - 1_000, [400, 2], true),
            call("recorded", T0 - 5_000, [200, 1], false),
        ];
        let limits = Limits::new(&store, "user", &WINDOWS_WITH_IMAGES, fixed_history(past));
        let snapshot = limits.at(T0).peek(&ann).await.unwrap();
        let usage = |index| (snapshot.window(index).used, snapshot.window(index).reserved);
        assert_eq!((usage(1), usage(2), snapshot.in_flight), ((500, 400), (1, 2), 1));
        assert_eq!(limits.at(T0).drift(&ann).await.unwrap(), None);
        let snapshot = limits.at(T0).end(&ann, "running", T0 - 1_000, End::Settle([50, 1])).await.unwrap();
        let usage = |index| (snapshot.window(index).used, snapshot.window(index).reserved);
        assert_eq!((usage(1), usage(2)), ((550, 0), (2, 0)));
    }
}

/// A set that gets a window has another shape: meters of the old one are rebuilt, whatever their amounts were.
#[tokio::test]
async fn adding_a_window_rebuilds_the_meters() {
    let (ann, store) = (unique_name("ann"), Store::redis(&super::redis_url()).unwrap());
    let before = Limits::without_history(&store, "user", &super::WINDOWS);
    let permit = admit_granted(&before, T0, &ann, allow(&[10, 1_000], 10), Demand::exactly(500)).await;
    before.at(T0).settle(permit, 500).await.unwrap();
    let past = vec![PastCall { call: "call".to_owned(), at_ms: T0, amount: [500, 1], running: false }];
    let after = Limits::new(&store, "user", &WINDOWS_WITH_IMAGES, fixed_history(past));
    let snapshot = after.at(T0).peek(&ann).await.unwrap();
    assert_eq!((snapshot.window(1).used, snapshot.window(2).used), (500, 1));
}

#[test]
#[should_panic(expected = "each window over an amount needs one amount")]
fn a_window_without_an_amount_is_refused() {
    let _ = Windows::<u64>::new(WINDOWS_WITH_IMAGES.as_slice());
}
