-- The taglines of the seeded plans in plainer words. A tagline that the owner has changed is kept.

update plan set pitch = case plan_id
  when 'free' then 'For trying it out.'
  when 'pro' then 'For everyday work, with larger models.'
  else 'For long documents and heavy use.'
end
where (plan_id, pitch) in (
  ('free', 'To find out whether it suits you.'),
  ('pro', 'For everyday work, with the larger models.'),
  ('max', 'For long documents and long days.')
);
